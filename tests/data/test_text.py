from hypothesis import given
from hypothesis import strategies as st

from toxlib.data.text import join_names, mask, prepare, short_name, shorten, visible


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


def test_what_cannot_be_seen_is_shown_as_its_escape():
    assert visible("\x1b[31m \u202e\u200b\x9b \ud800 é 🙂 $<b>") == (
        r"\x1b[31m \u202e\u200b\x9b \ud800 é 🙂 $<b>"
    )
    assert short_name("\x1b" + "a" * 100) == r"\x1b" + "a" * 38 + "…"
    assert join_names([]) == ""
    assert join_names([f"n{i}" for i in range(400)]) == (
        "n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, …"
    )
