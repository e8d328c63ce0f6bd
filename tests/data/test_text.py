from hypothesis import given
from hypothesis import strategies as st

from toxlib.data.text import mask, prepare, shorten


@given(st.text())
def test_white_space_is_folded_and_nothing_else_changes(comment):
    [folded] = prepare([comment])
    assert folded.split() == comment.split()
    assert prepare([folded]) == [folded]


def test_prepare_keeps_every_comment():
    assert prepare(["NA", "", " a\n b "]) == ["NA", "", "a b"]


def test_mask_hides_all_but_first_letters():
    assert mask("You, moron-like 42 édits") == "Y••, m••••-l••• 42 é••••"
    assert mask("e\u0301te\u0301 b4d") == "e\u0301••\u0301 b4•"


def test_shorten():
    assert shorten("abcdef", 4) == "abc…"
    assert shorten("abc", 4) == "abc"
