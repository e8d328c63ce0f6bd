import pytest

from toxlib.sharing.markdown import code, codes, plain, table


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("severe_toxic", "`severe_toxic`"),
        ("a`b", "`` a`b ``"),
        ("``", "``` `` ```"),
        ("a|b", r"`a\x7cb`"),
        ("\x1b[31m\u202e\n", r"`\x1b[31m\u202e\n`"),
        ("x" * 50, f"`{'x' * 39}…`"),
    ],
)
def test_a_name_is_a_code_span_that_nothing_in_it_ends(name, expected):
    assert code(name) == expected


def test_many_names_are_counted():
    assert codes(["a", "b"]) == "`a`, `b`"
    assert codes(range(22), most=2) == "`0`, `1` and 20 more"


def test_a_sentence_keeps_its_letters_and_loses_its_meaning():
    harmless = "Out-of-fold: 95 % (1.5 to 2.0 times)."
    assert plain(harmless) == harmless
    assert plain("[x](y) http://a.b www.c.d") == "&#91;x&#93;(y) http&#58;//a.b www&#46;c.d"
    assert plain("a\nb") == r"a&#92;nb"


def test_a_table_has_a_line_per_row():
    lines = table(["a", "b"], [["x", "1"], ["y", "2"]]).splitlines()
    assert lines == ["| a | b |", "| --- | ---: |", "| x | 1 |", "| y | 2 |"]
