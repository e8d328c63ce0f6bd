import torch

from toxlib.packing import pack


def test_longest_first_in_runs_of_equal_length_without_padding():
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0]])
    packing = pack(mask)
    assert [(run.rows, run.tokens) for run in packing.runs] == [
        (1, slice(0, 3)),
        (2, slice(3, 7)),
    ]
    assert packing.index.tolist() == [4, 5, 6, 0, 1, 9, 10]
    assert packing.first.tolist() == [3, 0, 5]
    assert packing.place.tolist() == [1, 0, 2]
    assert packing.global_positions.tolist() == [0, 3, 5]
    assert packing.only_first_is_global
    assert all(run.is_padding is None for run in packing.runs)


def test_unpack_is_the_inverse_of_pack():
    mask = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0]])
    packing = pack(mask)
    padded = torch.randn(3, 3, 2) * mask[:, :, None]
    assert torch.equal(packing.unpack(packing.pack(padded), 3, 3), padded)


def test_lengths_are_rounded_up_as_far_as_the_batch_goes():
    mask = torch.tensor([[1, 0, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    packing = pack(mask, multiple=4)
    assert [run.tokens for run in packing.runs] == [slice(0, 5), slice(5, 13)]
    assert packing.runs[1].is_padding.tolist() == [
        [False, True, True, True],
        [False, False, False, True],
    ]


def test_holes_are_kept_and_marked_and_nothing_is_still_something():
    packing = pack(torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0]]))
    assert [run.tokens for run in packing.runs] == [slice(0, 3), slice(3, 4)]
    assert packing.runs[0].is_padding.tolist() == [[False, True, False]]


def test_comments_with_as_many_global_tokens_share_a_run():
    mask = torch.ones(3, 4, dtype=torch.long)
    chosen = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [1, 1, 0, 0]])
    packing = pack(mask, chosen)
    assert [run.rows for run in packing.runs] == [1, 2]
    assert packing.runs[1].global_index.tolist() == [[0, 3], [0, 1]]
    assert packing.global_positions.tolist() == [1, 4, 7, 8, 9]
    assert not packing.only_first_is_global
