"""Fixtures: tiny checkpoints and data, made in the process. Nothing is downloaded."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest
import torch
from made_runs import finish_blend, finish_run
from tiny import SIZE
from tiny_marian import save_marian
from tokenizers import BertWordPieceTokenizer
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizerFast,
    DebertaV2Config,
    DebertaV2Model,
    DistilBertConfig,
    DistilBertModel,
    LongformerConfig,
    LongformerModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    RobertaConfig,
    RobertaModel,
    logging,
)
from xdist.scheduler import LoadFileScheduling

from toxlib.__main__ import main
from toxlib.data.sample import write_sample
from toxlib.recipes import BLENDS

HOSTILE = (
    "<script>alert('x');document.title='ran'</script> $\\alpha$ \x1b[31m <img src=x onerror=y> ",
    "<img src=URL/a onerror=\"document.title='ran'\"><iframe src=URL/b></iframe> ",
    '<svg onload="document.title=\'ran\'"><a href="javascript:alert(1)">x</a> [x](javascript:y) ',
    "![x](URL/c) \\(\\alpha\\) $$\\beta$$ \u202egnihton\u202c \u200b\u2066 \x1b]8;;URL/d\x07x ",
    "</td></table></pre></details></header></main> "
    "</style><style>*{background:url(URL/e)}</style><base href=URL/> ",
    "<meta http-equiv=refresh content='0;url=URL/f'><link rel=stylesheet href=URL/g> ",
)
"""Texts that would run a script, load something from URL, or change what is shown beside them."""
HOSTILE_LABELS = {
    "threat": "<b>$threat$",
    "insult": "\x1b[31m\u202e<img src=x onerror=\"document.title='ran'\">\\(x\\)" + "long" * 500,
}
MODERNBERT_IDS = dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 1)
"""ModernBERT's own ids lie outside the tiny vocabulary."""
NOTEBOOK_FILES = {
    *("test_pipeline.py", "test_audit.py", "test_report.py", "test_summary.py", "test_damage.py"),
}
"""The files with tests of `executed` and `executed_blend`, which execute notebooks for minutes."""
TONES = (("thank you", 0), ("the note", 0), ("you idiot", 1), ("stupid", 1))
"""Ends of sentences that name a group, and whether they insult."""
logging.set_verbosity_error()


class NotebooksTogether(LoadFileScheduling):
    """Run a file in one process, and all files that need executed notebooks in the same one."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "notebooks" if Path(file).name in NOTEBOOK_FILES else file


@pytest.hookimpl(optionalhook=True)  # without pytest-xdist, there is no such hook
def pytest_xdist_make_scheduler(config, log):
    return NotebooksTogether(config, log)


def pytest_collection_modifyitems(items):
    """Mark tests that use the real rows, and let the files that take longest begin."""
    for item in items:
        if "real_rows" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real_rows)
    items.sort(key=lambda item: item.path.name not in NOTEBOOK_FILES)


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
            BertConfig(**SIZE, max_position_embeddings=512, pad_token_id=0, initializer_range=0.3)
        ),
        "roberta": RobertaModel(
            RobertaConfig(**SIZE, max_position_embeddings=514, pad_token_id=0)
        ),
        "distilbert": DistilBertModel(
            DistilBertConfig(
                dim=32, n_layers=2, n_heads=2, hidden_dim=64, vocab_size=600, pad_token_id=0
            )
        ),
        "mpnet": MPNetModel(MPNetConfig(**SIZE, max_position_embeddings=514, pad_token_id=0)),
        "deberta-v3": DebertaV2Model(
            DebertaV2Config(
                **SIZE,
                max_position_embeddings=512,
                pad_token_id=0,
                relative_attention=True,
                position_buckets=16,
                pos_att_type=["p2c", "c2p"],
                norm_rel_ebd="layer_norm",
                share_att_key=True,
                position_biased_input=False,
                type_vocab_size=0,
            )
        ),
        "modernbert": ModernBertModel(
            ModernBertConfig(**SIZE, local_attention=16, pad_token_id=0, **MODERNBERT_IDS)
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
def marian(tmp_path_factory, sample_dir) -> Path:
    """Save a tiny MarianMT checkpoint; skip the test if its tokenizer's package is missing."""
    pytest.importorskip("sentencepiece")
    texts = pd.read_csv(sample_dir / "train.csv", keep_default_na=False)["comment_text"][:300]
    return save_marian(tmp_path_factory.mktemp("marian"), texts)


@pytest.fixture(scope="session")
def tiny_overrides(checkpoints) -> list[str]:
    """Return recipe values that shrink any recipe to a tiny BERT and one epoch."""
    tiny = "max_length=48 epochs=1 batch_size=32 learning_rate=1e-3 mask_comments=false"
    return [f"checkpoint={checkpoints['bert, large weights']}", *tiny.split()]


@pytest.fixture(scope="session")
def listener():
    """Serve HTTP on this machine. `listener.paths` are those that were asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_error(404)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.paths, server.url = paths, f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="session")
def hostile_texts(listener) -> list[str]:
    """Return texts that would run a script, load something, or break out of their element."""
    return [text.replace("URL", listener.url) for text in HOSTILE]


@pytest.fixture(scope="session")
def hostile_dir(small_dir, hostile_texts, tmp_path_factory) -> Path:
    """Write the small data with hostile texts in every third comment, in ids and label names."""
    folder = tmp_path_factory.mktemp("hostile")
    for path in small_dir.glob("*.csv"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        for row in range(0, len(table), 3):
            text = hostile_texts[row // 3 % len(hostile_texts)]
            table.loc[row, "id"] = text + table["id"][row]
            if "comment_text" in table:
                table.loc[row, "comment_text"] = text + table["comment_text"][row]
        table.rename(columns=HOSTILE_LABELS).to_csv(folder / path.name, index=False)
    return folder


@pytest.fixture(scope="session")
def finished(tiny_overrides, hostile_dir, tmp_path_factory) -> Path:
    """Make a run with one validation set in this process: its files, but no notebooks."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    return finish_run(folder, hostile_dir, tiny_overrides)


@pytest.fixture(scope="session")
def blended(tiny_overrides, hostile_dir, tmp_path_factory) -> Path:
    """Make a run folder of the recipe `best`, shrunk by values alone, in this process."""
    folder = tmp_path_factory.mktemp("blends") / "tiny-best"
    values = [*tiny_overrides, "lengthen_to=48", "folds=2"]
    members = [finish_run(folder / n, hostile_dir, values, n) for n in BLENDS["best"]]
    return finish_blend(folder, members)


@pytest.fixture(scope="session")
def executed(tiny_overrides, hostile_dir, tmp_path_factory) -> Path:
    """Make the same run as `finished` by the command line, notebooks and report included."""
    folder = tmp_path_factory.mktemp("executed") / "tiny"
    arguments = ["run", "--recipe", "quick", "--data-dir", str(hostile_dir)]
    assert main([*arguments, "--run-dir", str(folder), "--set", *tiny_overrides]) == 0
    return folder


@pytest.fixture(scope="session")
def executed_blend(tiny_overrides, hostile_dir, tmp_path_factory) -> Path:
    """Make the same blend as `blended` by the command line; its member begins with 03."""
    folder = tmp_path_factory.mktemp("executed-blends") / "tiny-best"
    arguments = ["run", "--recipe", "best", "--data-dir", str(hostile_dir), "--from", "03"]
    arguments += ["--run-dir", str(folder), "--set", *tiny_overrides]
    assert main([*arguments, "lengthen_to=48", "folds=2"]) == 0
    return folder


@pytest.fixture(scope="session")
def audited(executed, hostile_texts, tmp_path_factory) -> Path:
    """Audit a copy of `executed` by the command line, with hostile sentences, too."""
    pytest.importorskip("cleanlab", reason="pip install -r requirements-audit.txt")
    folder = tmp_path_factory.mktemp("audits")
    rows = [(f"{text} {tone}", text, toxic) for text in hostile_texts for tone, toxic in TONES]
    sentences = folder / "t<b>$x$.csv"
    pd.DataFrame(rows, columns=["text", "identity", "toxic"]).to_csv(sentences, index=False)
    copy = shutil.copytree(executed, folder / executed.name)
    assert main(["audit", str(copy), "--templates", str(sentences)]) == 0
    return copy


@pytest.fixture(scope="session")
def made(tmp_path_factory, hostile_dir, tiny_overrides) -> dict[str, Path]:
    """Make a single run, two runs of two folds and their blend, by kind.

    The members of the blend lie outside its folder, in folders of the same name.
    """
    base = tmp_path_factory.mktemp("made-runs")
    small = [*tiny_overrides, "lengthen_to=48", "attention_window=64", "precision=fp32"]
    kinds = {"single": (base / "single", "folds=1"), "folds": (base / "a" / "same", "folds=2")}
    kinds["other folds"] = base / "b" / "same", "folds=2 head=cls4 training_seed=1"
    runs = {
        kind: finish_run(folder, hostile_dir, [*small, *values.split()])
        for kind, (folder, values) in kinds.items()
    }
    members = [runs["folds"], runs.pop("other folds")]
    return runs | {"blend": finish_blend(base / "blend", members)}
