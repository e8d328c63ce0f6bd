import pandas as pd

from toxlib.coloured_text import coloured_list, coloured_text


def effects(*rows):
    return pd.DataFrame(rows, columns=["start", "end", "effect"])


def test_words_are_marked_by_sign_and_strength():
    table = effects((4, 9, 0.5), (11, 17, -0.2), (18, 20, 0))
    page = coloured_text("you idiot, please go", table, masked=False)
    assert "idiot<small> +0.50</small></span>, <span" in page
    assert "underline solid" in page.split("idiot")[0]
    assert "underline dashed" in page.split("idiot")[1].split("please")[0]
    assert page.endswith("please</span> go")


def test_nothing_is_marked_where_no_word_matters():
    assert coloured_text("you there", effects((0, 3, 1e-4), (4, 9, -1e-4)), False) == "you there"
    assert coloured_text("", effects()) == ""


def test_a_hostile_text_is_shown_as_it_is():
    text = "<script>alert(1)</script> \u202e\x1b[31m & \"'"
    page = coloured_list([text], [effects((0, 25, 0.9))], ["<b>x"], masked=False)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "\\u202e\\x1b[31m &amp;" in page
    assert "<b>&lt;b&gt;x</b>" in page


def test_masking_keeps_the_places_of_words():
    page = coloured_text("An idiot", effects((3, 8, 0.5)))
    assert ">i••••<small>" in page
