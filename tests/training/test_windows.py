"""Comments that are longer than the model, read in windows, in training and in prediction."""

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from torch.nn import functional as F

from toxlib.data import tokens
from toxlib.data.examples import Examples
from toxlib.errors import InputError
from toxlib.evaluation.metrics import mean_log_loss
from toxlib.recipes import get_recipe
from toxlib.training import checkpoints as loading
from toxlib.training import finetune, windows
from toxlib.training.inference import predict_probabilities

LABELS = ["a", "b"]
LENGTH = 16
TEXTS = [
    f"{'the railway went to the river ' * (n % 9)} you idiot {'thank you dear ' * (n % 5)} {n}"
    for n in range(40)
]
TRUTH = np.array([[n % 2, n % 3 == 0] for n in range(40)], dtype=np.int8)
KINDS = ["bert", "roberta", "distilbert", "longformer"]


def _classifier(folder, overrides=""):
    """A recipe that reads windows of 16 tokens, its classifier and its tokenizer."""
    values = f"checkpoint={folder} lengthen_to=0 max_length={LENGTH} long_texts=windows epochs=2"
    values += " batch_size=40 dropout=0 attention_dropout=0 precision=fp32 attention_window=16"
    recipe = get_recipe("quick", f"{values} layer_decay=1 {overrides}")
    return recipe, *loading.load_classifier(recipe, LABELS)


def _windows(text, tokenizer) -> list[list[int]]:
    """The windows of a text, cut by hand: 14 tokens between [CLS] and [SEP], of which 4 again."""
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    starts = range(0, max(1, len(ids) - 4), 10)
    ends = tokenizer.cls_token_id, tokenizer.sep_token_id
    return [[ends[0], *ids[start : start + 14], ends[1]] for start in starts]


def _reference(model, tokenizer) -> torch.Tensor:
    """The logits of all comments, (N, L), by one call of the model per window."""
    by_text = []
    for text in TEXTS:
        cut = [model(torch.tensor([window])).logits[0] for window in _windows(text, tokenizer)]
        by_text.append(torch.stack(cut).max(dim=0).values)
    return torch.stack(by_text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(words=st.integers(0, 120), length=st.integers(8, 40), most=st.none() | st.integers(2, 5))
def test_windows_cover_the_text_and_share_a_quarter(tokenizer, words, length, most):
    text = " ".join(f"tram {n}" for n in range(words))
    cap = most and most * length + length - 1
    (row,) = tokens.encode([text], tokenizer, "windows", length, most_tokens=cap)
    cut = [row[start : start + length] for start in range(0, len(row), length)]
    assert all(w[0] == tokenizer.cls_token_id and w[-1] == tokenizer.sep_token_id for w in cut)
    assert all(len(window) == length for window in cut[:-1])
    (every,) = tokens.encode([text], tokenizer, "windows", length)
    inner = [every[start : start + length][1:-1] for start in range(0, len(every), length)]
    shared = tokens.overlap(length)
    assert shared == length // 4
    assert all(a[-shared:] == b[:shared] for a, b in itertools.pairwise(inner))
    joined = inner[0] + [token for window in inner[1:] for token in window[shared:]]
    assert joined == tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    assert len(cut) == (len(inner) if most is None else min(len(inner), most))
    kept = [inner.index(window[1:-1]) for window in cut]
    assert kept[0] == 0
    assert kept[-1] == len(inner) - 1
    steps = np.diff(kept)
    assert not len(steps) or steps.max() - steps.min() <= 1 or most is None


def test_in_training_a_comment_has_few_windows(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(tokens, "MOST_TOKENS", 3 * LENGTH)
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = LENGTH
    examples = Examples(["tram " * 500, "tram"], TRUTH[:2])
    data = tokens.tokenize(examples, tokenizer, tmp_path / "t.arrow", "windows")
    assert data["length"][0] <= 3 * LENGTH
    assert data["length"][1] == len(data["input_ids"][1])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "distilbert"])
def test_loss_and_gradients_are_those_of_the_largest_logits(checkpoints, tmp_path, kind):
    """Whatever the micro-batches, they are those of one call of the model per window.

    DistilBERT is left out because no recipe value turns off its head's dropout.
    """
    recipe, model, tokenizer = _classifier(checkpoints[kind])
    model.train()
    labels = torch.tensor(TRUTH, dtype=torch.float32)
    expected_loss = F.binary_cross_entropy_with_logits(_reference(model, tokenizer), labels)
    expected_loss.backward()
    expected = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    examples = Examples(TEXTS, TRUTH)
    data = tokens.tokenize(examples, tokenizer, tmp_path / "t.arrow", recipe.long_texts)
    trainer = finetune.make_trainer(model, tokenizer, data, data, recipe, tmp_path / "w")
    batch = trainer.data_collator(list(data.select_columns(["input_ids", "labels"])))
    for budget in (10, 100, 10**6):
        model.zero_grad()
        trainer.token_budget = budget
        loss = trainer.training_step(model, batch)
        assert loss.item() == pytest.approx(expected_loss.item(), abs=1e-6)
        for name, parameter in model.named_parameters():
            if name in expected:
                assert (parameter.grad - expected[name]).abs().max() <= 1e-6, name
    evaluated = trainer.evaluate()
    assert evaluated["eval_loss"] == pytest.approx(expected_loss.item(), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_text_has_the_largest_score_of_its_windows(checkpoints, kind):
    _, model, tokenizer = _classifier(checkpoints[kind])
    with torch.no_grad():
        expected = _reference(model.eval(), tokenizer).sigmoid().numpy()
    for budget in (10, 100, 10**6):
        scores = predict_probabilities(
            model, tokenizer, TEXTS, "fp32", budget, long_texts="windows"
        )
        assert np.abs(scores - expected).max() <= 1e-6


def test_windows_change_nothing_where_nothing_is_cut(checkpoints, monkeypatch):
    """Short comments get the same bits. Truncated ones are one call of the model, as ever."""
    _, model, tokenizer = _classifier(checkpoints["bert"])
    short = ["", *(f"the tram number {n} " * (1 + n % 2) for n in range(9))]
    assert tokens.token_lengths(short, tokenizer).max() <= LENGTH
    cut, read = (
        predict_probabilities(model, tokenizer, short, "fp32", long_texts=how)
        for how in ("truncate", "windows")
    )
    assert np.array_equal(cut, read)
    monkeypatch.setattr(windows, "split_windows", None)  # to call it would fail
    truncated = predict_probabilities(model, tokenizer, TEXTS, "fp32")
    alone = tokenizer(TEXTS[8], truncation=True, return_tensors="pt")
    expected = model(**alone).logits[0].sigmoid().detach()
    assert np.abs(truncated[8] - expected.numpy()).max() <= 1e-6


def test_forward_passes_stay_within_the_budget(checkpoints):
    """The memory to score a text does not grow with its length, and the time does so linearly."""
    _, model, tokenizer = _classifier(checkpoints["bert"])
    sizes = []
    model.register_forward_pre_hook(
        lambda _, args, kwargs: sizes.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    for words in (1000, 2000):
        text = " ".join(f"tram{n}" for n in range(words))
        predict_probabilities(model, tokenizer, [text], "fp32", 64, long_texts="windows")
        assert max(sizes) <= 64
        length = tokens.token_lengths([text], tokenizer)[0]
        assert sum(sizes) <= 1.7 * length  # 16 tokens in a window, of which 10 are new
        sizes.clear()


def test_training_keeps_the_epoch_that_is_best_in_windows(checkpoints, tmp_path):
    recipe, *_ = _classifier(checkpoints["bert"], "learning_rate=1e-3 batch_size=8")
    rows = Examples(TEXTS, TRUTH)
    trained = finetune.finetune(recipe, LABELS, rows, rows, tmp_path)
    epochs = [entry for entry in trained.history if "eval_loss" in entry]
    best = max(epochs, key=lambda epoch: epoch["eval_mean_columnwise_auc"])
    for how, same in (("windows", True), ("truncate", False)):
        predicted = predict_probabilities(
            trained.model, trained.tokenizer, TEXTS, "fp32", long_texts=how
        )
        loss = mean_log_loss(TRUTH, predicted)
        assert (loss == pytest.approx(best["eval_loss"], abs=1e-5)) == same


@pytest.mark.parametrize(
    ("is_fast", "special_tokens", "expected"),
    [
        (False, 2, "long_texts=windows needs a fast tokenizer, and this one is slow; add a token"),
        (True, 6, "is full with 6 special tokens and 2 of the window before it; set max_length=9"),
        (True, 5, None),
    ],
)
def test_windows_that_cannot_be_cut_are_an_error(
    tokenizer, monkeypatch, is_fast, special_tokens, expected
):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = 8
    monkeypatch.setattr(type(tokenizer), "is_fast", is_fast)
    ends = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")]
    template = "[CLS] " * (special_tokens - 1) + "$0 [SEP]"
    added = TemplateProcessing(single=template, special_tokens=ends)
    tokenizer._tokenizer.post_processor = added
    if expected is None:
        tokens.check_windows(tokenizer, "checkpoint 'mine'")
        assert tokens.encode(["tram"], tokenizer, "windows")
    else:
        with pytest.raises(InputError) as error:
            tokens.check_windows(tokenizer, "checkpoint 'mine'")
        assert expected in str(error.value)
