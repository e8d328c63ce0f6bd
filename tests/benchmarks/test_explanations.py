import numpy as np
import pandas as pd
import pytest

from toxlib.benchmarks import explanations
from toxlib.data.passages import word_spans
from toxlib.errors import InputError
from toxlib.scoring.predictor import load

FILE = "text,spans\nYou are a fool.,10 11 12 13\nno,\nBig idiot here,4 5 6 7 8\n"


@pytest.fixture
def spans(tmp_path):
    path = tmp_path / "spans.csv"
    path.write_text(FILE)
    return path


def test_only_comments_with_marked_characters_are_read(spans):
    comments = explanations.read_spans(spans)
    assert [text for text, _ in comments] == ["You are a fool.", "Big idiot here"]
    text, marked = comments[0]
    assert "".join(np.array(list(text))[marked]) == "fool"


@pytest.mark.parametrize("places", ["99", "x", "1 2;3"])
def test_a_bad_position_is_named(tmp_path, places):
    path = tmp_path / "spans.csv"
    path.write_text(f"text,spans\nfool,0\nfool,{places}\n")
    with pytest.raises(InputError, match=r"spans.csv: row 2, column spans: not positions"):
        explanations.read_spans(path)


def test_perfect_and_useless_explanations_are_told_apart(spans):
    comments = explanations.read_spans(spans) * 10

    def perfect(scorer, text):
        words = pd.DataFrame(word_spans(text), columns=["start", "end"])
        return words.assign(effect=[text[a:b] in ("fool", "idiot") for a, b in words.to_numpy()])

    judged = explanations._judge(perfect, None, comments)
    assert judged["word AUC"].startswith("1.000")
    assert judged["character F1"].startswith("1.000")
    wrong = explanations._judge(
        lambda scorer, text: perfect(scorer, text).eval("effect = not effect"), None, comments
    )
    assert wrong["word AUC"].startswith("0.000")


def test_the_gradient_of_each_word_is_that_of_its_tokens(finished):
    scorer = load(finished)
    words = explanations._gradient_norm(scorer, "You are a fool.")
    assert len(words) == 4
    assert (words["effect"] > 0).all()
    model, tokenizer = scorer.encoders[0]
    table = model.get_input_embeddings().weight
    encoded = tokenizer("You are a fool.", return_tensors="pt")
    model(**encoded).logits[0, scorer.label_names.index("toxic")].backward()
    ids, offsets = encoded["input_ids"][0], encoded.encodings[0].offsets
    # The row of a token that occurs once has its gradient in the text.
    inside = [i for i, (start, end) in enumerate(offsets) if end > start >= 10 and end <= 14]
    if all((ids == ids[i]).sum() == 1 for i in inside):
        expected = sum(table.grad[ids[i]].norm().item() for i in inside)
        assert words["effect"].iloc[3] == pytest.approx(expected, rel=1e-3)
    model.zero_grad()


def test_the_table_is_written(finished, spans, tmp_path, capsys):
    explanations.bench_explanations(str(finished), str(spans), tmp_path / "out", quick=True)
    table = pd.read_csv(tmp_path / "out" / "explanations.csv", index_col=0)
    assert list(table.index) == ["occlusion", "gradient norm"]
    assert table["comments"].tolist() == [2, 2]
    assert "occlusion" in capsys.readouterr().out
