"""Tiny checkpoints and data, made in-process: nothing is downloaded."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"

from pathlib import Path

import pandas as pd
import pytest
import torch
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

from toxlib.sample import write_sample

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "jigsaw"
SIZE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 600,
}

logging.set_verbosity_error()


@pytest.fixture(scope="session")
def sample_dir(tmp_path_factory) -> Path:
    """The built-in sample."""
    return write_sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="session")
def small_dir(tmp_path_factory, sample_dir) -> Path:
    """The sample's first 240 training and 60 test comments."""
    folder = tmp_path_factory.mktemp("small")
    for name, rows in (("train", 240), ("test", 60), ("test_labels", 60)):
        table = pd.read_csv(sample_dir / f"{name}.csv", dtype=str, keep_default_na=False)
        table[:rows].to_csv(folder / f"{name}.csv", index=False)
    sample = pd.read_csv(sample_dir / "sample_submission.csv", dtype=str)
    sample[:60].to_csv(folder / "sample_submission.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def tokenizer(sample_dir) -> BertTokenizerFast:
    """A WordPiece tokenizer of 600 pieces, trained on the sample; its padding id is 0."""
    texts = pd.read_csv(sample_dir / "train.csv", keep_default_na=False)["comment_text"][:300]
    trained = BertWordPieceTokenizer()
    trained.train_from_iterator(texts, vocab_size=SIZE["vocab_size"], show_progress=False)
    return BertTokenizerFast(tokenizer_object=trained._tokenizer)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory, tokenizer) -> dict[str, Path]:
    """Tiny encoders with random weights: folders by model type."""
    torch.manual_seed(0)
    models = {
        "bert": BertModel(BertConfig(**SIZE, max_position_embeddings=512, pad_token_id=0)),
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
        folders[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(folders[name])
        tokenizer.save_pretrained(folders[name])
    return folders
