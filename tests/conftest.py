"""Fixtures: tiny checkpoints and data, made in the process. Nothing is downloaded."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny import SIZE
from tokenizers import BertWordPieceTokenizer
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizerFast,
    DistilBertConfig,
    DistilBertModel,
    LongformerConfig,
    LongformerModel,
    RobertaConfig,
    RobertaModel,
    logging,
)

from toxlib.__main__ import main
from toxlib.data.sample import write_sample

HOSTILE = "<script>alert('x')</script> $\\alpha$ \x1b[31m <img src=x onerror=y>"
logging.set_verbosity_error()


def pytest_collection_modifyitems(items):
    """Mark the tests that use the real rows, so that `-m "not real_rows"` leaves them out."""
    for item in items:
        if "real_rows" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real_rows)


@pytest.fixture(scope="session")
def real_rows() -> Path:
    """Return a folder with real Jigsaw rows in Kaggle's files; skip the test if there is none.

    TOXLIB_REAL_ROWS names the folder; without it, a folder beside the repository is looked for.
    """
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "jigsaw"
    folder = Path(os.environ.get("TOXLIB_REAL_ROWS", beside))
    if not folder.is_dir():
        pytest.skip("the real rows are not here")
    return folder


@pytest.fixture(scope="session")
def sample_dir(tmp_path_factory) -> Path:
    """Write the built-in sample."""
    return write_sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="session")
def small_dir(tmp_path_factory, sample_dir) -> Path:
    """Write the sample's first 240 training and 60 test comments."""
    folder = tmp_path_factory.mktemp("small")
    for name, rows in (("train", 240), ("test", 60), ("test_labels", 60)):
        table = pd.read_csv(sample_dir / f"{name}.csv", dtype=str, keep_default_na=False)
        table[:rows].to_csv(folder / f"{name}.csv", index=False)
    sample = pd.read_csv(sample_dir / "sample_submission.csv", dtype=str)
    sample[:60].to_csv(folder / "sample_submission.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def tokenizer(sample_dir) -> BertTokenizerFast:
    """Train a WordPiece tokenizer of 600 pieces on the sample; its padding id is 0."""
    texts = pd.read_csv(sample_dir / "train.csv", keep_default_na=False)["comment_text"][:300]
    trained = BertWordPieceTokenizer()
    trained.train_from_iterator(texts, vocab_size=SIZE["vocab_size"], show_progress=False)
    return BertTokenizerFast(tokenizer_object=trained._tokenizer)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory, tokenizer) -> dict[str, Path]:
    """Save tiny encoders with random weights; return their folders by model type."""
    torch.manual_seed(0)
    models = {
        "bert": BertModel(BertConfig(**SIZE, max_position_embeddings=512, pad_token_id=0)),
        # With weights this large, scores differ from comment to comment after one epoch.
        "bert, large weights": BertModel(
            BertConfig(**SIZE, max_position_embeddings=512, pad_token_id=0, initializer_range=1.0)
        ),
        "roberta": RobertaModel(
            RobertaConfig(**SIZE, max_position_embeddings=514, pad_token_id=0)
        ),
        "distilbert": DistilBertModel(
            DistilBertConfig(
                dim=32, n_layers=2, n_heads=2, hidden_dim=64, vocab_size=600, pad_token_id=0
            )
        ),
        "longformer": LongformerModel(
            LongformerConfig(
                **SIZE, max_position_embeddings=600, attention_window=16, pad_token_id=0
            )
        ),
    }
    folders = {}
    for name, model in models.items():
        folders[name] = tmp_path_factory.mktemp(name.replace(", ", "-").replace(" ", "-"))
        model.save_pretrained(folders[name])
        tokenizer.save_pretrained(folders[name])
    return folders


@pytest.fixture(scope="session")
def tiny_overrides(checkpoints) -> list[str]:
    """Return recipe values that shrink any recipe to a tiny BERT and one epoch."""
    tiny = "max_length=48 epochs=1 batch_size=32 learning_rate=1e-3 mask_comments=false"
    return [f"checkpoint={checkpoints['bert, large weights']}", *tiny.split()]


@pytest.fixture(scope="session")
def hostile_dir(small_dir, tmp_path_factory) -> Path:
    """Write the small data with a hostile text in every third comment and a hostile label name."""
    folder = tmp_path_factory.mktemp("hostile")
    for path in small_dir.glob("*.csv"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if "comment_text" in table:
            table.loc[::3, "comment_text"] = HOSTILE + table["comment_text"][::3]
        table = table.rename(columns={"threat": "<b>$threat$"})
        table.to_csv(folder / path.name, index=False)
    return folder


@pytest.fixture(scope="session")
def finished(tiny_overrides, hostile_dir, tmp_path_factory) -> Path:
    """Make a run folder with one validation set by the command line."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    arguments = ["run", "--recipe", "quick", "--data-dir", str(hostile_dir)]
    assert main([*arguments, "--run-dir", str(folder), "--set", *tiny_overrides]) == 0
    return folder


@pytest.fixture(scope="session")
def blended(tiny_overrides, hostile_dir, tmp_path_factory) -> Path:
    """Make a run folder of the recipe `best`, shrunk by values alone, by the command line."""
    folder = tmp_path_factory.mktemp("blends") / "tiny-best"
    arguments = ["run", "--recipe", "best", "--data-dir", str(hostile_dir)]
    arguments += ["--run-dir", str(folder), "--set", *tiny_overrides]
    assert main([*arguments, "lengthen_to=48", "folds=2"]) == 0
    return folder
