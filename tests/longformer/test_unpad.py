import torch

from toxlib.longformer.unpad import make_layout


def _shapes(layout) -> list[tuple[int, int]]:
    return [(block.comments, block.length) for block in layout.blocks]


def test_equal_lengths_form_a_block_and_longest_comments_come_first():
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0]])
    layout = make_layout(mask)
    assert _shapes(layout) == [(1, 3), (2, 2)]
    assert layout.index.tolist() == [4, 5, 6, 0, 1, 9, 10]
    assert layout.first.tolist() == [3, 0, 5]
    assert layout.batch_order.tolist() == [1, 0, 2]
    assert layout.global_positions.tolist() == [0, 3, 5]
    assert layout.only_first_is_global
    assert all(block.is_padding is None for block in layout.blocks)


def test_unpad_keeps_the_tokens_of_each_comment_in_order():
    layout = make_layout(torch.tensor([[1, 1, 0], [1, 1, 1], [0, 1, 0]]))
    padded = torch.arange(9)[:, None].repeat(1, 2).view(3, 3, 2)
    assert layout.unpad(padded).tolist() == [[n, n] for n in (3, 4, 5, 0, 1, 7)]


def test_split_gives_each_block_its_comments():
    layout = make_layout(torch.tensor([[1, 1, 0], [1, 1, 1], [0, 1, 1]]))
    tokens = layout.unpad(torch.arange(9).view(3, 3))
    assert [x.tolist() for x in layout.split(tokens)] == [[[3, 4, 5]], [[0, 1], [7, 8]]]
    of_globals = tokens[layout.global_positions]
    assert [x.tolist() for x in layout.split_globals(of_globals)] == [[[3]], [[0], [7]]]


def test_lengths_are_rounded_up_if_the_batch_has_enough_padding():
    mask = torch.tensor([[1, 0, 0, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    layout = make_layout(mask, multiple=4)
    assert _shapes(layout) == [(1, 5), (2, 4)]
    assert layout.blocks[1].is_padding.tolist() == [
        [False, True, True, True],
        [False, False, False, True],
    ]


def test_padding_between_tokens_is_kept_and_an_empty_comment_has_one_token():
    layout = make_layout(torch.tensor([[1, 0, 1, 0], [0, 0, 0, 0]]))
    assert _shapes(layout) == [(1, 3), (1, 1)]
    assert layout.blocks[0].is_padding.tolist() == [[False, True, False]]


def test_comments_of_a_block_have_equally_many_global_tokens():
    mask = torch.ones(3, 4, dtype=torch.long)
    is_global = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 0], [1, 1, 0, 0]])
    layout = make_layout(mask, is_global)
    assert _shapes(layout) == [(1, 4), (2, 4)]
    assert layout.blocks[1].global_index.tolist() == [[0, 3], [0, 1]]
    assert layout.global_positions.tolist() == [1, 4, 7, 8, 9]
    assert not layout.only_first_is_global
