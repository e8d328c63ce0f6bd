"""Sentences that name groups: our own, and those of a file."""

import pandas as pd
import pytest

from toxlib.data import identity_sentences
from toxlib.data.identity_sentences import own_sentences, read_sentences
from toxlib.errors import InputError

GOOD = """text,identity,toxic
Ann is an Asian fool,asian,1
Bob is a tall fool,Tall,1
hi asian,asian,0
"""


@pytest.fixture
def write(tmp_path):
    """A function that writes a file and returns its path."""

    def write_file(content, name="t.csv"):
        (tmp_path / name).write_text(content, "utf-8")
        return tmp_path / name

    return write_file


def test_each_of_our_templates_exists_for_each_group():
    table = own_sentences()
    assert len(table) <= 2000
    assert len(table) == table["identity"].nunique() * table["template"].nunique()
    assert not table["text"].duplicated().any()
    assert table["text"].str.contains("[{}]").sum() == 0
    named = [g.lower() in t.lower() for g, t in zip(table["identity"], table["text"], strict=True)]
    assert all(named)
    assert set(table.groupby("tone")["toxic"].unique().map(tuple).items()) == {
        ("neutral", (0,)),
        ("positive", (0,)),
        ("insulting", (1,)),
    }


def test_articles_and_capitals_fit_the_name():
    texts = set(own_sentences()["text"])
    assert {"I am an Asian person.", "I am a gay person.", "Deaf people are wonderful."} <= texts


def test_sentences_that_differ_in_the_name_have_the_same_template(write):
    table = read_sentences(
        write("text,identity,toxic\nShe is an Asian!,asian,0\nshe is a Deaf!,deaf,1\n")
    )
    assert table["template"].tolist() == ["she is a {group}!"] * 2
    assert read_sentences(write(GOOD))["template"].nunique() == 3


def test_a_name_inside_another_word_stays(write):
    table = read_sentences(write("text,identity,toxic\nfemale male,male,0\na c++ fan,c++,1\n"))
    assert table["template"].tolist() == ["female {group}", "a {group} fan"]


def test_further_columns_are_left_out_and_blanks_normalised(write):
    path = write("identity,more,toxic,text\n old ,1,1.0,you  old\tfool\nyoung,2,FALSE,hi young\n")
    table = read_sentences(path)
    assert list(table) == ["toxic", "text", "identity", "template"]
    assert table["text"].tolist() == ["you old fool", "hi young"]
    assert table["toxic"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("text,group,toxic\na,b,1\n", "no column 'identity'; found 'text', 'group', 'toxic'"),
        ("text,identity,toxic\na,b,2\n", "row 1, column 'toxic': '2' is not a label; write 1 if"),
        ("text,identity,toxic\na,b,1\n ,b,0\n", "row 2, column 'text': ' ' is empty"),
        ("text,identity,toxic\na,b,1\nc,,0\n", "row 2, column 'identity': '' is empty"),
        (
            "text,identity,toxic\na,b,1\nc,b,0\n",
            "column 'identity': 1 different groups; give 2 to 200",
        ),
        (
            f"text,identity,toxic\na,{'b' * 201},1\n",
            "has more than 200 characters; write the name",
        ),
        ("text,identity,toxic\na,b,1\nc,d,1\n", "column 'toxic': 1 in every row"),
        ("text,identity,toxic\na,b\n", "row 1: 2 fields where the header has 3"),
    ],
)
def test_faults_are_told_in_one_line(write, content, fault):
    path = write(content)
    with pytest.raises(InputError) as caught:
        read_sentences(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert fault in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_groups_than_a_table_can_show_are_refused(write):
    rows = "".join(f"text {i},group {i},{i % 2}\n" for i in range(201))
    with pytest.raises(InputError, match="201 different groups; give 2 to 200"):
        read_sentences(write(f"text,identity,toxic\n{rows}"))


def test_of_a_long_file_some_sentences_are_drawn_which_is_noted(write, monkeypatch):
    monkeypatch.setattr(identity_sentences, "MOST_SENTENCES", 10)
    rows = pd.DataFrame({"text": [f"s {i:02}" for i in range(40)], "identity": ["a", "b"] * 20})
    path, notes = write(rows.assign(toxic=[0, 1, 1, 0] * 10).to_csv(index=False)), []
    table = read_sentences(path, notes)
    assert len(table) == 10
    assert table["text"].is_monotonic_increasing
    assert table["text"].is_unique
    assert notes == ["t.csv: 10 of its sentences, drawn at random, are used."]
