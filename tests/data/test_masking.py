"""Whole words are hidden, in the shares that are promised."""

import copy

import numpy as np
import pytest
from tokenizers import ByteLevelBPETokenizer
from transformers import PreTrainedTokenizerFast

from toxlib.data import masking
from toxlib.errors import InputError

TEXTS = [f"{'the railway station ' * (n % 7)}thank you, editor {n}!" for n in range(60)]


@pytest.fixture(scope="module")
def padded(tokenizer, tmp_path_factory):
    """Return ids and word numbers of the texts, (B, T) each."""
    data = masking.tokenize_words(TEXTS, tokenizer, tmp_path_factory.mktemp("m") / "a.arrow")
    longest = max(data["length"])
    fill = {"input_ids": tokenizer.pad_token_id, "words": masking.NO_WORD}
    return [
        np.array([row + [value] * (longest - len(row)) for row in data[name]])
        for name, value in fill.items()
    ]


def test_word_numbers_join_the_pieces_of_a_word(tokenizer, padded):
    pieces = tokenizer.convert_ids_to_tokens(padded[0][1])
    words = padded[1][1]
    assert any(piece.startswith("##") for piece in pieces)
    for piece, before, after in zip(pieces[1:], words, words[1:], strict=False):
        special = piece in tokenizer.all_special_tokens
        assert (after == masking.NO_WORD) == special
        if not special:
            assert (after == before) == piece.startswith("##")


def test_byte_level_pieces_are_joined_too(tmp_path):
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(TEXTS, vocab_size=270, show_progress=False)
    special = {"mask_token": "<mask>", "pad_token": "<pad>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, **special)
    tokenizer.model_max_length = 100
    (row,) = masking.tokenize_words(["the railway, the"], tokenizer, tmp_path / "a.arrow")
    ids, words = map(np.array, (row["input_ids"], row["words"]))
    joined = [tokenizer.decode(ids[words == number].tolist()) for number in np.unique(words)]
    assert [word.strip() for word in joined] == ["the", "railway", ",", "the"]
    assert len(row["words"]) > 4


def test_all_pieces_of_a_word_are_hidden_together(tokenizer, padded):
    _, targets = masking.hide_words(*padded, tokenizer, np.random.default_rng(0))
    ids, words = padded
    is_hidden = targets != masking.NOT_HIDDEN
    assert (targets[is_hidden] == ids[is_hidden]).all()
    assert not is_hidden[words == masking.NO_WORD].any()
    for row, numbers in enumerate(words):
        known = set(numbers) - {masking.NO_WORD}
        hidden = {number for number in known if is_hidden[row][numbers == number].all()}
        assert hidden == set(numbers[is_hidden[row]])
        assert len(hidden) == max(1, round(0.15 * len(known)))


def test_hidden_tokens_are_masked_replaced_or_kept(tokenizer, padded):
    ids, words = (np.tile(part, (50, 1)) for part in padded)
    read, targets = masking.hide_words(ids, words, tokenizer, np.random.default_rng(0))
    hidden = targets != masking.NOT_HIDDEN
    assert (read[~hidden] == ids[~hidden]).all()
    masked, kept = read[hidden] == tokenizer.mask_token_id, read[hidden] == ids[hidden]
    assert masked.mean() == pytest.approx(0.8, abs=0.01)
    assert kept.mean() == pytest.approx(0.1, abs=0.01)
    replaced = read[hidden][~masked & ~kept]
    assert not set(replaced) & set(tokenizer.all_special_ids)
    assert len(set(replaced)) > 300


def test_the_generator_alone_decides(tokenizer, padded):
    def hide(seed):
        return masking.hide_words(*padded, tokenizer, np.random.default_rng(seed))

    assert all(map(np.array_equal, hide([1, 2]), hide([1, 2])))
    assert not np.array_equal(hide([1, 2])[1], hide([1, 3])[1])


def test_comments_without_a_word_are_left_out(tokenizer, tmp_path):
    data = masking.tokenize_words(["", "you", " "], tokenizer, tmp_path / "a.arrow")
    assert len(data) == 1


def test_a_tokenizer_without_a_mask_token_is_an_error(tokenizer):
    without = copy.deepcopy(tokenizer)
    without.mask_token = None
    with pytest.raises(InputError, match=r"x: adapt_epochs needs a mask token, .* adapt_epochs=0"):
        masking.check_masking(without, "x")
    masking.check_masking(tokenizer, "x")
