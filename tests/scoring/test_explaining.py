"""What `explain` says about a word is the difference of two predictions."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import toxlib
from toxlib.__main__ import main
from toxlib.errors import InputError
from toxlib.evaluation.weights import apply_weights
from toxlib.runs.predictions import OWN
from toxlib.scoring import explaining
from toxlib.scoring.predictor import load

TEXT = "What a fool, the tram is late."


@pytest.fixture(params=["plain", "folds"])
def folder(request, finished, blended):
    return {"plain": finished, "folds": blended / "minilm"}[request.param]


def without(text, row, by):
    return text[: row["start"]] + by + text[row["end"] :]


def test_an_effect_is_the_difference_of_two_predictions(folder):
    scorer = toxlib.load(folder)
    (table,) = scorer.explain([TEXT], "obscene")
    assert list(table) == ["start", "end", "word", "effect"]
    assert table["word"].tolist() == ["What", "a", "fool", "the", "tram", "is", "late"]
    masked = [without(TEXT, row, "[MASK]") for _, row in table.iterrows()]
    scores = scorer.predict([TEXT, *masked])["obscene"].to_numpy()
    assert np.abs(table["effect"] - (scores[0] - scores[1:])).max() < 1e-6
    assert table["effect"].abs().max() > 1e-6


def test_a_blend_is_explained_with_its_linear_members(blended):
    scorer, models = toxlib.load(blended), load(blended / "minilm")
    (table,) = scorer.explain([TEXT], "toxic")
    row = table.iloc[2]
    scores = []
    for mask, blank in ((row["word"], row["word"]), ("[MASK]", " ")):
        encoded = models.predict([without(TEXT, row, mask)]).to_numpy()
        (folds,) = scorer._models.values()
        linear = folds.predict([without(TEXT, row, blank)], _NoBar())
        parts = [encoded if name == OWN else linear[name] for _, name in scorer._members.values()]
        scores.append(apply_weights(scorer._weights, np.stack(parts))[0, 0])
    assert row["effect"] == pytest.approx(scores[0] - scores[1], abs=1e-6)


class _NoBar:
    def update(self, count):
        pass


def test_the_command_writes_a_table_and_a_page(finished, tmp_path, capsys):
    texts = tmp_path / "texts.csv"
    texts.write_text(f'id,comment_text\n7,"{TEXT}"\n8,<img src=x onerror=alert(1)> you idiot\n')
    command = ["explain", str(finished), str(texts), "-o"]
    assert main([*command, str(tmp_path / "words.csv"), "--label", "obscene"]) == 0
    words = pd.read_csv(tmp_path / "words.csv")
    assert list(words) == ["id", "start", "end", "word", "obscene"]
    assert words["id"].value_counts().to_dict() == {7: 7, 8: 5}
    (table,) = toxlib.load(finished).explain([TEXT], "obscene")
    assert np.allclose(words["obscene"][:7], table["effect"], atol=1e-6)
    assert main([*command, str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "Content-Security-Policy" in page
    assert "<img" not in page
    assert "8: " in page
    assert main([*command, str(tmp_path / "x.csv"), "--label", "rude"]) == 2
    assert "unknown label 'rude'" in capsys.readouterr().err
    assert not (tmp_path / "x.csv").exists()


def test_a_page_is_not_confused_by_names_of_labels(tmp_path):
    class Named:
        recipe = SimpleNamespace(mask_comments=False)

        def explain_labels(self, texts, labels):
            for _ in texts:
                yield pd.DataFrame(
                    [(0, 3, "you", 0.1, 0.9)], columns=["start", "end", "word", *labels]
                )

        def predict(self, texts):
            return pd.DataFrame([[0.2, 0.7]] * len(texts), columns=["start", "word"])

    path = tmp_path / "page.html"
    with path.open("w") as file:
        write = explaining._page(file)
        for name in ("7", "8"):
            write(Named(), [name], ["you"], ["start", "word"])
    page = path.read_text()
    assert page.count("8: word 0.70 · start 0.20") == 1
    assert page.count("<small> +0.90") == 2
    assert page.count("Underlined words") == 1


def test_what_cannot_be_explained_is_refused(finished, blended):
    with pytest.raises(InputError, match="comment 1 is 3, not a string"):
        toxlib.load(finished).explain([3], "toxic")
    with pytest.raises(InputError, match="unknown label 'rude': choose one of 'toxic'"):
        toxlib.load(finished).explain(["a"], "rude")
    assert toxlib.load(finished).explain([""], "toxic")[0].empty
