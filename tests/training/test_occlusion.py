import numpy as np
import pytest

from toxlib.training.occlusion import LEAST_COPIES, MASKED, MOST_TOKENS, explain

WEIGHTS = {"idiot": 0.4, "fool": 0.2, "please": -0.1}


class Counter:
    """Scores two labels: the sum of the words' weights, and half of it. Counts what it scores."""

    def __init__(self):
        self.texts = []

    def __call__(self, texts):
        self.texts += texts
        sums = [sum(WEIGHTS.get(word.strip(".,!"), 0) for word in text.split()) for text in texts]
        return np.array([[0.1 + s, 0.05 + s / 2] for s in sums]).reshape(-1, 2)


def explained(texts, score=None, tokens=None):
    tokens = tokens or [len(text.split()) for text in texts]
    return list(explain(texts, score or Counter(), tokens, ["toxic", "insult"]))


def test_the_effect_of_a_word_is_what_masking_it_takes_off_the_score():
    (table,) = explained(["You idiot! Go, please."])
    assert table["word"].tolist() == ["You", "idiot", "Go", "please"]
    assert table["toxic"].tolist() == pytest.approx([0, 0.4, 0, -0.1])
    assert table["insult"].tolist() == pytest.approx([0, 0.2, 0, -0.05])
    text = "You idiot! Go, please."
    assert [text[a:b] for a, b in zip(table["start"], table["end"], strict=True)] == [
        *table["word"]
    ]


def test_each_text_gets_its_own_effects_and_may_be_empty():
    tables = explained(["fool", "", "an idiot", " "])
    assert [len(table) for table in tables] == [1, 0, 2, 0]
    assert tables[0]["toxic"].tolist() == pytest.approx([0.2])
    assert tables[2]["toxic"].tolist() == pytest.approx([0, 0.4])
    assert explained([]) == []


def test_a_long_text_is_searched_for_the_words_that_matter():
    dull = [f"{' '.join(['word'] * 11)} end{i}." for i in range(300)]
    dull[41], dull[222] = "Well, you are such an idiot, sir.", "Be a fool."
    text, score = " ".join(dull), Counter()
    (table,) = explained([text], score, tokens=[512])  # of which a model reads the first
    assert len(text.split()) > 3500
    assert len(score.texts) - 1 <= max(LEAST_COPIES, MOST_TOKENS // 512)
    found = table.sort_values("toxic", ascending=False).iloc[0]
    assert found["toxic"] == pytest.approx(0.4)
    assert "idiot" in found["word"]
    assert len(found["word"].split()) <= 12
    # The rows cover all words, in order, none twice.
    assert " ".join(table["word"]).split()[:3] == ["word"] * 3
    assert (table["start"].to_numpy()[1:] >= table["end"].to_numpy()[:-1]).all()
    assert sum(len(word.split()) for word in table["word"]) == len(text.split())


def test_the_words_of_a_middling_text_are_masked_one_by_one():
    text = "word " * 120 + "idiot"
    (table,) = explained([text])
    assert len(table) == 121
    assert table["toxic"].iloc[-1] == pytest.approx(0.4)


def test_a_character_that_stands_for_a_mask_is_read_as_another_one():
    score = Counter()
    (table,) = explained([f"an {MASKED} idiot"], score)
    assert len(table) == 3
    assert not score.texts[0].count(MASKED)
    assert all(copy.count(MASKED) == 1 for copy in score.texts[1:])


def test_a_label_may_be_called_like_another_column():
    (table,) = explain(["an idiot"], Counter(), [2], ["word", "start"])
    assert list(table) == ["start", "end", "word", "word", "start"]
    assert table.iloc[:, 3].tolist() == pytest.approx([0, 0.4])


def test_one_long_sentence_is_not_masked_more_often_than_it_may_be():
    score = Counter()
    (table,) = explained(["please " * 3000 + "idiot"], score, [MOST_TOKENS])
    assert len(score.texts) <= 1 + LEAST_COPIES
    assert table["toxic"].max() > 0.3
