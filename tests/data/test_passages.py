import pytest
from hypothesis import given
from hypothesis import strategies as st

from toxlib.data.passages import sentence_numbers, word_spans


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't (be) f***ing stupid!", ["Don't", "be", "f***ing", "stupid"]),
        ("a $tupid @sshole!!! :-)", ["a", "$tupid", "@sshole", ":-)"]),
        ("“so” it’s\n\tC++, ok...", ["so", "it’s", "C++", "ok"]),
        ("", []),
        (" \n", []),
    ],
)
def test_words_come_without_the_punctuation_around_them(text, words):
    assert [text[start:end] for start, end in word_spans(text)] == words


def test_a_long_run_of_characters_is_several_words():
    assert word_spans("你" * 100) == [(0, 40), (40, 80), (80, 100)]


def test_sentences_end_at_stops_and_line_breaks():
    text = 'Go away! "Why?" he said.\nNo 3.5'
    assert sentence_numbers(text, word_spans(text)) == [0, 0, 1, 2, 2, 3, 3]


@given(st.text())
def test_no_character_of_a_word_is_lost(text):
    spans = word_spans(text)
    assert all(start < end for start, end in spans)
    assert spans == sorted(spans)
    inside = {i for start, end in spans for i in range(start, end)}
    assert all(i in inside for i, letter in enumerate(text) if letter.isalnum())
