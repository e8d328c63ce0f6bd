"""Comments are cut into pieces that a MarianMT model reads, and joined again."""

import json
import shutil

import pandas as pd
import pytest
import torch
from tiny_marian import POSITIONS, save_marian

from toxlib.errors import InputError
from toxlib.training import translation
from toxlib.training.translation import load_translator, split_text

TEXTS = ["stupid idiot", "", "I have added 7 sources to the talk page.", "Thank you!", "🙂 \u202e"]


@pytest.fixture(scope="module")
def sample_texts(sample_dir):
    return pd.read_csv(sample_dir / "train.csv", keep_default_na=False)["comment_text"][:300]


@pytest.fixture(scope="module")
def translator(marian):
    return load_translator(str(marian), "", "de")


def _words(text):
    return len(text.split())


def test_pieces_are_whole_sentences_where_they_fit():
    text = "One two. Three? Four five six! Seven"
    pieces = list(split_text(text, _words, 3))
    assert pieces == [("One two. Three?", 3), ("Four five six!", 3), ("Seven", 1)]
    assert list(split_text(text, _words, 100)) == [(text, 7)]
    assert list(split_text("", _words, 3)) == []


def test_longer_sentences_are_cut_between_words_and_words_in_halves():
    pieces = [piece for piece, _ in split_text("aaa bbb ccc " + "x" * 20, len, 8)]
    assert pieces == ["aaa bbb", "ccc xxxxx", "xxxxx", "xxxxx", "xxxxx"]
    assert [piece for piece, _ in split_text("äö", lambda text: 9, 8)] == ["ä", "ö"]


def test_texts_keep_their_order_and_empty_ones_stay_empty(translator):
    translated = translator(TEXTS)
    assert translated[1] == ""
    assert len(set(translated)) == len(TEXTS)
    assert translated == [" ".join(text.split()) for text in translated]
    for number in (0, 2):
        assert translator([TEXTS[number]])[0].startswith(translated[number][:10])


def test_a_long_text_is_split_and_its_translation_joined(translator, monkeypatch):
    sentences = [f"Please add source {n} to the gallery of the comet." for n in range(40)]
    text, seen = " ".join(sentences), []
    translate = type(translator)._translate

    def watched(self, pieces):
        seen.extend(pieces)
        return translate(self, pieces)

    monkeypatch.setattr(type(translator), "_translate", watched)
    [joined] = translator([text])
    pieces = [piece for piece, _ in split_text(text, translator._count, translator.most_tokens)]
    assert sorted(seen) == sorted(pieces)
    assert " ".join(pieces) == text
    ids = translator.tokenizer(pieces)["input_ids"]
    assert 10 < len(pieces) < 41
    assert max(map(len, ids)) <= POSITIONS
    monkeypatch.undo()
    assert joined.startswith(translator([pieces[0]])[0][:10])


def test_hostile_texts_are_translated_within_the_positions(translator):
    texts = ["x" * 300, "</s> <pad> >>de<< " * 9, "﷽" * 20, "a . " * 30, "\U0001f642" * 50]
    assert all(isinstance(text, str) for text in translator(texts))


def test_a_model_of_several_languages_is_told_which_one(tmp_path, sample_texts):
    folder = save_marian(tmp_path / "several", sample_texts, [">>fr<<", ">>es<<"])
    assert load_translator(str(folder), "", "fr").prefix == ">>fr<< "
    with pytest.raises(InputError, match="translates into 'fr', 'es', not into 'de'; choose"):
        load_translator(str(folder), "", "de")


def test_a_digest_follows_from_files_and_language(marian, tmp_path, translator):
    copy = shutil.copytree(marian, tmp_path / "copy")
    assert load_translator(str(copy), "", "de").digest == translator.digest
    config = json.loads((copy / "generation_config.json").read_text())
    (copy / "generation_config.json").write_text(json.dumps(config | {"max_length": 99}))
    assert load_translator(str(copy), "", "de").digest != translator.digest


def _damage(folder, name, content):
    path = folder / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("model.safetensors", None, "model.safetensors: no such file"),
        ("model.safetensors", b"{", "model.safetensors: damaged"),
        ("config.json", b'{"model_type": "bert"}', "of type 'bert'; give a MarianMT checkpoint"),
        ("config.json", b'{"model_type": "marian", "auto_map": {"a": "b"}}', "its own code"),
        ("source.spm", None, "could not be loaded"),
        ("source.spm", b"no model", "could not be loaded"),
        ("vocab.json", b"{", "could not be loaded"),
        ("vocab.json", b'{"<unk>": 0}', "there is no tokenizer, or an empty one"),
    ],
)
def test_a_bad_checkpoint_is_one_line(marian, tmp_path, name, content, fault):
    folder = shutil.copytree(marian, tmp_path / "bad")
    _damage(folder, name, content)
    with pytest.raises(InputError) as error:
        load_translator(str(folder), "", "de")
    assert fault in str(error.value)
    assert "\n" not in str(error.value)


def test_weights_of_another_model_are_refused(marian, tmp_path):
    folder = shutil.copytree(marian, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"decoder_layers": 2}))
    with pytest.raises(InputError, match="of its weights are missing or of other shapes, such as"):
        load_translator(str(folder), "", "de")


def test_pickles_that_run_code_are_not_loaded(marian, tmp_path):
    folder = shutil.copytree(marian, tmp_path / "pickle")
    (folder / "model.safetensors").unlink()
    torch.save({"x": translation.Translator}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="damaged, or not only weights"):
        load_translator(str(folder), "", "de")


def test_a_hub_name_needs_a_revision_and_a_missing_package_is_named(marian, monkeypatch):
    with pytest.raises(InputError, match="a hub name needs a revision"):
        load_translator("Helsinki-NLP/opus-mt-en-de", "", "de")
    with pytest.raises(InputError, match="without internet"):
        load_translator("Helsinki-NLP/opus-mt-en-de", "0123", "de")
    monkeypatch.setattr(translation, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"sentencepiece, not installed; run `pip install -r req"):
        load_translator(str(marian), "", "de")
