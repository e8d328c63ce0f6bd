import numpy as np

from toxlib.data import duplicates
from toxlib.data.duplicates import conflicting_rows, duplicate_groups, near_duplicate_groups


def test_identical_comments_get_one_number():
    assert duplicate_groups(["b", "a", "b", "B"]).tolist() == [0, 1, 0, 2]


def test_edited_copies_are_one_comment():
    warning = "thank you for experimenting with the page {} on wikipedia , your test worked"
    texts = [warning.format(n) for n in ("tram", "ferry", "canal")]
    texts += [
        "You are WRONG!",
        "you are wrong",
        "are you wrong?",
        "the railway is old",
        "?!",
        "!!",
    ]
    groups = near_duplicate_groups(texts)
    assert len(set(groups[:3])) == 1
    assert len(set(groups[3:6])) == 1
    assert len(set(groups)) == 5
    assert set(near_duplicate_groups(["?!", "!", "?!"])) == {0, 1}


def test_many_copies_do_not_hide_what_joins_them():
    words = "thank you for experimenting with the page on wikipedia your test has been removed now"
    copies = [f"{words}{'!' * n}" for n in range(150)] + [
        f"{words} please{'.' * n}" for n in range(150)
    ]
    assert len(set(near_duplicate_groups([*copies, "a tram"]))) == 2


def test_blocks_of_comments_give_the_same_numbers(monkeypatch):
    """Edited copies are found in whichever blocks they lie."""
    words = " ".join(f"word{n}" for n in range(100))
    texts = [f"{words} {n}" if n % 2 else f"comment {n}" for n in range(300)]
    whole = near_duplicate_groups(texts)
    monkeypatch.setattr(duplicates, "BLOCK", 20)
    assert near_duplicate_groups(texts).tolist() == whole.tolist()
    assert len(set(whole[1::2])) == 1


def test_conflicting_rows():
    labels = np.array([[0], [1], [1], [1], [0]])
    assert conflicting_rows(labels, np.array([0, 0, 1, 1, 2])) == 2
