import time

from hypothesis import given
from hypothesis import strategies as st

from toxlib.text import clean, mask, normalize_whitespace, prepare, shorten


@given(st.text())
def test_white_space_is_folded_and_nothing_else_changes(comment):
    folded = normalize_whitespace(comment)
    assert folded.split() == comment.split()
    assert normalize_whitespace(folded) == folded


def test_clean_folds_names_addresses_and_repeats():
    comment = (
        "see https://a.b/c?d by 192.0.2.7, [[User:X|X]] and @joe: noooooooo no no no no no ﬁne"
    )
    assert clean(comment) == "see URL by IP , USER and USER : nooo no no no fine"


def test_clean_takes_linear_time_on_hostile_text():
    start = time.perf_counter()
    for piece in ("a", "ab ", "1.", "[[User:", "@", "http://"):
        clean(piece * 20_000)
    assert time.perf_counter() - start < 5


def test_prepare_keeps_every_comment():
    assert prepare(["NA", "", " a\n b "], thorough=False) == ["NA", "", "a b"]


def test_mask_hides_all_but_first_letters():
    assert mask("You, moron-like 42 édits") == "Y••, m••••-l••• 42 é••••"


def test_shorten():
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abc", 4) == "abc"
