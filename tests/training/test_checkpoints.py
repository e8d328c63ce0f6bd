"""Checkpoints and model folders that are damaged, foreign or hostile: each gives one line."""

import copy
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2Model, PreTrainedTokenizerFast

from toxlib.data.text import prepare
from toxlib.errors import InputError
from toxlib.recipes import get_recipe
from toxlib.training import checkpoints as loading
from toxlib.training.inference import predict_probabilities

LABELS = ["a", "b"]
SHORT = "max_length=48 lengthen_to=0 layer_decay=1"


class Code:
    """An object whose unpickling would write a file."""

    def __reduce__(self):
        return (open, ("ran", "w"))


def _recipe(folder, values=SHORT):
    return get_recipe("quick", f"checkpoint={folder} {values}")


def _words(count: int, **special: str) -> PreTrainedTokenizerFast:
    vocabulary = {token: i for i, token in enumerate([*special.values(), "[UNK]"])}
    vocabulary |= {f"w{n}": n + len(vocabulary) for n in range(count)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", **special)


def _cut(name: str) -> Callable:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return damage


def _write(name: str, content: str) -> Callable:
    return lambda folder: (folder / name).write_text(content)


def _delete(*names: str) -> Callable:
    return lambda folder: [(folder / name).unlink() for name in names]


def _make_folder(name: str) -> Callable:
    def damage(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def _set(name: str, **values) -> Callable:
    def damage(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | values))

    return damage


def _weights(change: Callable) -> Callable:
    def damage(folder: Path) -> None:
        path = folder / "model.safetensors"
        save_file(change(load_file(path)), path, {"format": "pt"})

    return damage


def _pickle(content: object) -> Callable:
    def damage(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        torch.save(content, folder / "pytorch_model.bin")

    return damage


def _tokenizer(count: int, **special: str) -> Callable:
    def damage(folder: Path) -> None:
        for name in TOKENIZER:
            (folder / name).unlink()
        _words(count, **special).save_pretrained(folder)

    return damage


def _index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    content = {"weight_map": {"embeddings": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))


TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
PAD = {"pad_token": "[PAD]"}
DAMAGES = {
    "config cut": (_cut("config.json"), "config.json: damaged, it is not a JSON object"),
    "config empty": (_write("config.json", ""), "config.json: damaged"),
    "config {}": (_write("config.json", "{}"), "config.json: it names no model_type"),
    "config []": (_write("config.json", "[]"), "config.json: damaged, it is not a JSON object"),
    "config missing": (_delete("config.json"), "config.json: no such file"),
    "config a folder": (_make_folder("config.json"), "config.json: a folder"),
    "unknown type": (_set("config.json", model_type="noval"), "unknown model_type 'noval'"),
    "wrong type of value": (_set("config.json", hidden_size="big"), "hidden_size"),
    "own code": (_set("config.json", auto_map={"AutoModel": "m.M"}), "brings its own code"),
    "own tokenizer code": (
        _set("tokenizer_config.json", auto_map={"AutoTokenizer": ["m.M", None]}),
        "tokenizer_config.json: the checkpoint brings its own code",
    ),
    "weights cut": (_cut("model.safetensors"), "model.safetensors: damaged"),
    "weights empty": (_write("model.safetensors", ""), "model.safetensors: damaged"),
    "weights {}": (_write("model.safetensors", "{}"), "model.safetensors: damaged"),
    "weights missing": (_delete("model.safetensors"), "model.safetensors: no such file"),
    "weights a folder": (_make_folder("model.safetensors"), "model.safetensors: a folder"),
    "shard missing": (_index, "model-00001-of-00002.safetensors: no such file"),
    "index of nothing": (
        lambda folder: (_delete("model.safetensors")(folder), _write(
            "model.safetensors.index.json", "{}")(folder)),
        "it lists no weights",
    ),
    "a pickle that runs code": (_pickle(Code()), "model.bin: damaged, or not only weights"),
    "no weights in the file": (_weights(lambda w: {"x": torch.ones(1)}), "weights are missing"),
    "half of the weights": (
        _weights(lambda w: dict(list(w.items())[: len(w) // 2])),
        "weights are missing",
    ),
    "other shapes": (
        _weights(lambda w: {k: v[:16].contiguous() for k, v in w.items()}),
        "weights are missing or of other shapes",
    ),
    "tokenizer.json cut": (_cut("tokenizer.json"), "tokenizer.json: damaged"),
    "tokenizer.json empty": (_write("tokenizer.json", ""), "tokenizer.json: damaged"),
    "tokenizer.json {}": (_write("tokenizer.json", "{}"), "tokenizer.json: it has no vocabulary"),
    "tokenizer.json a folder": (_make_folder("tokenizer.json"), "tokenizer.json: a folder"),
    "no tokenizer.json": (_delete("tokenizer.json"), "no tokenizer, or an empty one"),
    "no tokenizer": (_delete(*TOKENIZER), "no tokenizer, or an empty one"),
    "tokenizer_config.json cut": (_cut("tokenizer_config.json"), "tokenizer_config.json: damaged"),
    "only special tokens": (_tokenizer(3, **PAD), "no tokenizer, or an empty one"),
    "a larger tokenizer": (_tokenizer(700, **PAD), "ids up to 701, and the model has 600"),
    "no padding token": (_tokenizer(100), "the tokenizer has no padding token"),
}  # fmt: skip


def _copy(folder: Path, target: Path, damage: str) -> tuple[Path, str]:
    copied = shutil.copytree(folder, target / "copy")
    DAMAGES[damage][0](copied)
    return copied, DAMAGES[damage][1]


def _line(error) -> str:
    line = str(error.value)
    assert "\n" not in line
    print(f"| {line}")
    return line


@pytest.fixture(scope="module")
def trained(checkpoints, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "model"
    loading.save_trained(*loading.load_classifier(_recipe(checkpoints["bert"]), LABELS), folder)
    return folder


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_checkpoint_is_one_line(checkpoints, tmp_path, monkeypatch, damage):
    monkeypatch.chdir(tmp_path)
    folder, expected = _copy(checkpoints["bert"], tmp_path, damage)
    with pytest.raises(InputError, match=expected) as error:
        loading.load_classifier(_recipe(folder), LABELS)
    assert str(folder) in _line(error)
    if not expected.startswith("weights"):  # those are found when all weights are read
        with pytest.raises(InputError, match=expected):
            loading.check(_recipe(folder), LABELS)
    assert not Path("ran").exists()


def test_a_padding_id_beyond_the_embeddings_is_found_before_the_run(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["bert"], tmp_path / "copy")
    _set("config.json", pad_token_id=99999)(folder)
    with pytest.raises(InputError, match="pad_token_id=99999, and the model has 600 embeddings"):
        loading.check(_recipe(folder), LABELS)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_bad_model_folder_of_a_run_says_what_to_delete(trained, tmp_path, monkeypatch, damage):
    monkeypatch.chdir(tmp_path)
    folder, expected = _copy(trained, tmp_path, damage)
    with pytest.raises(InputError, match=expected) as error:
        loading.load_trained(folder)
    line = _line(error)
    assert line.startswith(f"{folder}/")
    if "own code" not in line and "no padding" not in line:
        assert line.endswith(f"; delete {folder} and run 03_train again")
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("checkpoint", "expected"),
    [
        ("/nowhere/at/all", "no such folder"),
        ("~/nowhere", "no such folder"),
        ("./nowhere", "no such folder"),
        ("nowhere/at/all", "no such folder"),
        ("C:/models/bert", "no such folder"),
        (r"models\\bert", "no such folder"),
        ("a-file", "a file, not a folder"),
        ("org/name", "a hub name needs a revision"),
        ("org/name revision=0123", "without internet, set checkpoint=FOLDER"),
    ],
)
def test_a_checkpoint_that_is_not_there_is_one_line(tmp_path, monkeypatch, checkpoint, expected):
    monkeypatch.chdir(tmp_path)
    Path("a-file").touch()
    with pytest.raises(InputError, match=expected) as error:
        loading.check(_recipe(checkpoint), LABELS)
    assert "repo id" not in _line(error).lower()


def test_a_recipes_revision_is_not_that_of_another_checkpoint():
    recipe = get_recipe("roberta-512")
    assert get_recipe("roberta-512", "checkpoint=org/name").revision == ""
    assert get_recipe("roberta-512", f"checkpoint={recipe.checkpoint}").revision == recipe.revision
    assert get_recipe("roberta-512", "checkpoint=org/name revision=abc").revision == "abc"


LOAD_EACH = """
import sys
from toxlib.errors import InputError
from toxlib.recipes import get_recipe
from toxlib.training.checkpoints import load_classifier
for values in sys.argv[1:]:
    try:
        load_classifier(get_recipe("quick", values), ["a"])
    except InputError as error:
        print(error)
"""


def test_code_of_a_checkpoint_never_runs(checkpoints, tmp_path):
    """Standard input answers every question with yes."""
    kinds = ("AutoConfig", "AutoModel", "AutoModelForSequenceClassification")
    references = dict.fromkeys(kinds, "code.Own") | {"AutoTokenizer": ["code.Own", "code.Own"]}
    code, values = f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n", []
    for name in ("config.json", "tokenizer_config.json"):
        folder = shutil.copytree(checkpoints["bert"], tmp_path / name)
        _set(name, auto_map=references, model_type="own", tokenizer_class="Own")(folder)
        (folder / "code.py").write_text(code)
        for length in (0, 48):
            values.append(f"checkpoint={folder} max_length=48 lengthen_to={length}")
    command = [sys.executable, "-c", LOAD_EACH, *values]
    done = subprocess.run(command, input="yes\n" * 9, capture_output=True, text=True)
    fault = "brings its own code (auto_map), which toxlib does not run"
    assert done.stdout.count(fault) == len(values), done.stdout + done.stderr
    assert "[y/N]" not in done.stdout + done.stderr
    assert not (tmp_path / "ran").exists()


def test_a_pickle_of_weights_alone_is_read(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["bert"], tmp_path / "copy")
    _pickle(load_file(folder / "model.safetensors"))(folder)
    weights, expected = (
        loading.load_classifier(_recipe(f), LABELS)[0].state_dict()
        for f in (folder, checkpoints["bert"])
    )
    assert all(torch.equal(weights[key], expected[key]) for key in expected)


def test_a_tokenizer_without_padding_pads_with_its_end_token(tmp_path):
    values = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": 200}
    GPT2Model(GPT2Config(**values, eos_token_id=0, bos_token_id=0)).save_pretrained(tmp_path / "g")
    _words(100, eos_token="[END]").save_pretrained(tmp_path / "g")
    loading.check(_recipe(tmp_path / "g"), LABELS)
    model, tokenizer = loading.load_classifier(_recipe(tmp_path / "g"), LABELS)
    assert model.config.pad_token_id == tokenizer.pad_token_id == 0
    texts = ["w1 w2 w3 w4", "w5"]
    scores = predict_probabilities(model, tokenizer, texts, "fp32")
    assert scores[1] == pytest.approx(
        predict_probabilities(model, tokenizer, texts[1:], "fp32")[0]
    )
    loading.save_trained(model, tokenizer, tmp_path / "t")
    again = predict_probabilities(*loading.load_trained(tmp_path / "t"), texts, "fp32")
    assert again == pytest.approx(scores)


def test_another_padding_id_is_refused_where_positions_count_from_it(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["roberta"], tmp_path / "copy")
    _set("config.json", pad_token_id=1)(folder)
    with pytest.raises(InputError, match="padding id is 0, and the model's is 1; copy tokenizer"):
        loading.check(_recipe(folder), LABELS)


def test_another_padding_id_is_refused_where_the_encoder_is_lengthened(checkpoints, tmp_path):
    """BERT numbers positions from 0, but the Longformer that is made of it does not."""
    folder = shutil.copytree(checkpoints["bert"], tmp_path / "copy")
    _set("config.json", pad_token_id=1)(folder)
    loading.check(_recipe(folder), LABELS)
    with pytest.raises(InputError, match="padding id is 0, and the model's is 1; copy tokenizer"):
        loading.check(_recipe(folder, "max_length=48 lengthen_to=48"), LABELS)


@pytest.mark.parametrize(
    ("kind", "values", "remedy"),
    [
        ("roberta", "max_length=600", "set max_length=513 or less, or lengthen_to=600"),
        ("mpnet", "max_length=600", "set max_length=513 or less"),
        ("longformer", "max_length=600", "set max_length=599 or less"),
        ("mpnet", "head=cls4", "only a Longformer has this head; set head=cls"),
    ],
)
def test_only_encoders_that_can_be_lengthened_are_offered_it(checkpoints, kind, values, remedy):
    with pytest.raises(InputError) as error:
        loading.check(_recipe(checkpoints[kind], f"lengthen_to=0 {values}"), LABELS)
    assert str(error.value).endswith(remedy)


def test_each_head_reads_as_many_tokens_as_have_positions(checkpoints):
    values = "lengthen_to=64 attention_window=64"
    for head in ("cls", "cls4"):
        loading.check(_recipe(checkpoints["bert"], f"{values} max_length=64 head={head}"), LABELS)
        with pytest.raises(InputError, match="has 64 positions; set max_length=64 or less"):
            loading.check(
                _recipe(checkpoints["bert"], f"{values} max_length=65 head={head}"), LABELS
            )


def test_dropout_reaches_modernbert(checkpoints):
    values = "lengthen_to=0 max_length=48 dropout=0.3 attention_dropout=0.2"
    config = loading.load_config(_recipe(checkpoints["modernbert"], values), LABELS)
    assert (config.embedding_dropout, config.mlp_dropout) == (0.3, 0.3)
    assert config.attention_dropout == 0.2


def test_a_checkpoint_in_half_precision_is_trained_in_fp32(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints["bert"], tmp_path / "copy")
    _weights(lambda w: {key: value.half() for key, value in w.items()})(folder)
    _set("config.json", dtype="float16")(folder)
    model, _ = loading.load_classifier(_recipe(folder), LABELS)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "longformer"])
def test_a_head_in_fp32_can_be_copied_and_pickled(checkpoints, kind):
    model = loading.load_classifier(_recipe(checkpoints[kind]), LABELS)[0].eval()
    batch = torch.tensor([[5, 6, 7]])
    with torch.autocast("cpu", torch.bfloat16):
        expected = model(batch).logits
        assert expected.dtype == torch.float32
        for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(other(batch).logits, expected)
            other.classifier.register_forward_hook(lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                other(batch)
            assert torch.is_autocast_enabled("cpu")  # also after an error in the head


def test_plain_transformers_gives_the_scores_of_the_run(trained, tmp_path):
    """The lines of docs/reference.md, in a fresh process that cannot import toxlib."""
    texts = ["thank you\n\n for  the note", "you idiot " * 500]
    script = f"""
import json, sys
sys.modules["toxlib"] = None
from transformers import pipeline
score = pipeline("text-classification", model={str(trained)!r}, top_k=None)
texts = [" ".join(text.split()) for text in json.loads(sys.argv[1])]
rows = score(texts, truncation=True)
print(json.dumps([{{s["label"]: s["score"] for s in row}} for row in rows]))
"""
    command = [sys.executable, "-c", script, json.dumps(texts)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    plain = [[row[label] for label in LABELS] for row in json.loads(done.stdout.splitlines()[-1])]
    expected = predict_probabilities(*loading.load_trained(trained), prepare(texts), "fp32")
    assert expected == pytest.approx(torch.tensor(plain).numpy(), abs=1e-6)


def test_a_tokenizer_that_needs_sentencepiece_says_what_to_install(
    checkpoints, tmp_path, monkeypatch
):
    folder = shutil.copytree(checkpoints["deberta-v3"], tmp_path / "deberta")
    (folder / "tokenizer.json").unlink()
    (folder / "spm.model").write_bytes(b"")
    values = {"tokenizer_class": "DebertaV2Tokenizer", "vocab_type": "spm"}
    (folder / "tokenizer_config.json").write_text(json.dumps(values))
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    expected = "sentencepiece is not installed.; pip install -r requirements-sentencepiece.txt"
    with pytest.raises(InputError, match=expected):
        loading.load_tokenizer(_recipe(folder))
