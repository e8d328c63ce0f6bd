import time

import pytest
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


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("by 2001:0db8:85a3::8a2e:370:7334: hi", "by IP : hi"),
        ("fe80::1 and ::1.", "IP and IP ."),
        ("at 10:20:30, a::b and std::vector", "at 10:20:30, a::b and std::vector"),
        ("[[User_talk:Joe|J]]", "USER"),
        ("http://a (http://b) www.c www.d", "URL URL URL"),
    ],
)
def test_clean_tells_addresses_from_what_looks_like_them(comment, expected):
    assert clean(comment) == expected
    assert clean(expected) == expected


def test_clean_takes_linear_time_on_hostile_text():
    start = time.perf_counter()
    for piece in ("a", "ab ", "1.", "[[User:", "@", "http://", "0:", "f::"):
        clean(piece * 20_000)
    assert time.perf_counter() - start < 5


def test_prepare_keeps_every_comment():
    assert prepare(["NA", "", " a\n b "], thorough=False) == ["NA", "", "a b"]


def test_mask_hides_all_but_first_letters():
    assert mask("You, moron-like 42 édits") == "Y••, m••••-l••• 42 é••••"
    assert mask("e\u0301te\u0301 b4d") == "e\u0301••\u0301 b4•"


def test_shorten():
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abc", 4) == "abc"
