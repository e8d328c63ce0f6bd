import numpy as np
import pytest

from toxlib import files
from toxlib.data import kaggle, text
from toxlib.data.sample import LABELS, PHRASES, write_sample
from toxlib.evaluation.metrics import mean_columnwise_auc
from toxlib.training.linear import LINEAR, LinearModels


@pytest.fixture(scope="module")
def tables(sample_dir):
    return kaggle.read_tables(sample_dir)


@pytest.fixture(scope="module")
def lengths(tables):
    from transformers import AutoTokenizer

    from toxlib.training.checkpoints import bundled_checkpoint

    tokenizer = AutoTokenizer.from_pretrained(bundled_checkpoint())
    ids = tokenizer(text.prepare(tables.train["comment_text"]), verbose=False)["input_ids"]
    return np.array([len(row) for row in ids])


def test_same_seed_same_bytes(sample_dir, tmp_path):
    write_sample(tmp_path)
    for path in sample_dir.glob("*.csv"):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()
    write_sample(tmp_path, seed=1)
    assert (sample_dir / "train.csv").read_bytes() != (tmp_path / "train.csv").read_bytes()


def test_shape_and_rates(tables):
    assert (len(tables.train), len(tables.test)) == (2000, 500)
    assert tuple(tables.label_names) == LABELS
    labels = tables.train[list(LABELS)]
    assert (labels.mean() >= 0.04).all()
    assert (labels["toxic"][labels["severe_toxic"] == 1] == 1).all()
    assert (tables.test_labels["toxic"] == -1).sum() == 100
    assert "NA" in set(tables.train["comment_text"])
    assert "null" in set(tables.test["comment_text"])


def test_lengths_are_long_tailed(lengths):
    assert 40 <= np.median(lengths) <= 50
    assert 800 <= np.percentile(lengths, 99) <= 1000
    assert 3 <= (lengths > 2000).sum() <= 20


def test_long_comments_are_toxic_only_at_their_end(tables, lengths):
    words = files.read_json(PHRASES, "")["words"]
    toxic_words = {phrase.split()[-1] for phrase in words["insult"] + words["group"]}
    toxic_words |= set(words["swear"])
    long_toxic = tables.train[(lengths > 512) & (tables.train["toxic"] == 1)]["comment_text"]
    assert len(long_toxic) >= 15
    for comment in long_toxic:
        # The first 300 words are surely within 512 tokens or so: nothing toxic stands there.
        assert not toxic_words & set(comment.lower().split()[:300])


def test_neither_trivial_nor_hopeless(tables):
    truth = tables.test_labels[list(LABELS)].to_numpy()
    scored = truth[:, 0] >= 0
    floor = LinearModels().fit(text.prepare(tables.train["comment_text"]), tables.labels)
    predicted = floor.predict(text.prepare(tables.test["comment_text"]))
    assert set(predicted) == set(LINEAR)
    for probabilities in predicted.values():
        assert 0.85 < mean_columnwise_auc(truth[scored], probabilities[scored]) < 0.985
