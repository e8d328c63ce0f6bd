"""`toxlib.load` scores as the run itself does: a plain run, a run with folds, and a blend."""

import io
import json
import shutil

import numpy as np
import pandas as pd
import pytest
from made_runs import finish_run
from scipy.special import expit, logit

import toxlib
from toxlib.__main__ import main
from toxlib.errors import InputError
from toxlib.training.checkpoints import load_trained
from toxlib.training.inference import predict_probabilities


@pytest.fixture(params=["plain", "folds", "blend"])
def folder(request, finished, blended):
    return {"plain": finished, "folds": blended / "minilm", "blend": blended}[request.param]


def test_scores_are_the_runs_own(folder):
    run, scorer = toxlib.reopen(folder), toxlib.load(folder)
    scores = scorer.predict(run.test_texts)
    assert list(scores.columns) == run.label_names
    own = pd.read_csv(folder / "test_predictions.csv")[run.label_names]
    assert own["toxic"].nunique() > 10
    assert np.abs(scores.to_numpy() - own.to_numpy()).max() < 1e-6


def test_long_texts_are_read_as_the_recipe_says(finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    record = json.loads((copy / "run.json").read_text())
    record["recipe"]["long_texts"] = "windows"
    (copy / "run.json").write_text(json.dumps(record))
    texts = ["tram " * 100 + "you idiot", "tram " * 100, "tram"]
    model, tokenizer = load_trained(copy / "model")
    for folder, how in ((finished, "truncate"), (copy, "windows")):
        scores = toxlib.load(folder).predict(texts).to_numpy()
        expected = predict_probabilities(model, tokenizer, texts, long_texts=how)
        assert np.allclose(scores, expected, atol=1e-6)
        assert (np.abs(scores[0] - scores[1]).max() < 1e-6) == (how == "truncate")
        (tmp_path / "texts.csv").write_text("comment_text\n" + "\n".join(texts) + "\n")
        command = ["predict", str(folder), str(tmp_path / "texts.csv")]
        assert main([*command, "-o", str(tmp_path / "scores.csv")]) == 0
        written = pd.read_csv(tmp_path / "scores.csv").iloc[:, 1:]
        assert np.allclose(written, scores, atol=1e-6)


def test_decisions_follow_the_thresholds(folder, small_dir, tmp_path):
    texts = pd.read_csv(small_dir / "test.csv", keep_default_na=False)["comment_text"].tolist()
    scores = toxlib.load(folder).predict(texts)
    assert scores["toxic"].nunique() > 10
    limits = {name: {"threshold": scores[name].median()} for name in scores}
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "thresholds.json").write_text(json.dumps(limits))
    decisions = toxlib.load(copy).decide(texts)
    assert set(decisions.dtypes.astype(str)) == {"bool"}
    assert list(decisions.columns) == list(scores.columns)
    assert (decisions == (scores >= scores.median())).all().all()
    assert 0.4 < decisions["toxic"].mean() < 0.6


def test_calibrated_scores_follow_the_calibrator(folder, tmp_path):
    texts = ["get lost", "thank you", "the tram network"]
    scorer = toxlib.load(folder)
    numbers = {name: {"slope": 2.0, "intercept": 1.0} for name in scorer.label_names}
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "calibration.json").write_text(json.dumps(numbers))
    expected = expit(2 * logit(scorer.predict(texts)) + 1)
    assert np.allclose(toxlib.load(copy).predict(texts, calibrated=True), expected)


def test_predict_on_the_command_line(folder, hostile_dir, tmp_path):
    output = tmp_path / "scores.csv"
    arguments = ["predict", str(folder), str(hostile_dir / "test.csv"), "-o", str(output)]
    assert main(arguments) == 0
    own = pd.read_csv(folder / "test_predictions.csv", dtype={"id": str}).set_index("id")
    plain = pd.read_csv(output, dtype={"id": str}).set_index("id")
    assert list(plain.index) == list(own.index)
    assert np.abs(plain - own).max().max() < 1e-6
    assert main([*arguments, "--calibrated", "--decide"]) == 0
    both = pd.read_csv(output, dtype={"id": str}).set_index("id")
    names = list(own.columns)
    assert list(both.columns) == [*names, *(f"{name}_decision" for name in names)]
    limits = json.loads((folder / "thresholds.json").read_text())
    for name in names:  # decided on plain scores, whatever is written beside them
        expected = (plain[name] >= limits[name]["threshold"]).astype(int)
        assert (both[f"{name}_decision"] == expected).all()
    # Not computed from `plain`: its 9 digits say too little about the logit of a score near 1.
    texts = pd.read_csv(hostile_dir / "test.csv", keep_default_na=False)["comment_text"].tolist()
    calibrated = toxlib.load(folder).predict(texts, calibrated=True)
    assert np.allclose(both[names], calibrated, atol=1e-6)


def test_predict_numbers_rows_without_ids_and_writes_to_standard_output(finished, tmp_path, capfd):
    path = tmp_path / "texts.csv"
    path.write_text("sep=;\nlanguage;comment_text\nen;get lost\nen;thank you, dear\n")
    assert main(["predict", str(finished), str(path), "-o", "-"]) == 0
    captured = capfd.readouterr()
    table = pd.read_csv(io.StringIO(captured.out), index_col="id")
    expected = toxlib.load(finished).predict(["get lost", "thank you, dear"])
    assert list(table.index) == [1, 2]
    assert np.allclose(table, expected, atol=1e-6)
    assert "no column 'id', so the rows are numbered from 1.\n" in captured.err
    assert "further columns are left out: 'language'.\n" in captured.err
    before = path.read_bytes()
    assert main(["predict", str(finished), str(path), "-o", str(path)]) == 2
    assert "the file that is read; give another path" in capfd.readouterr().err
    assert path.read_bytes() == before


def test_a_run_on_files_as_people_bring_them(small_dir, tiny_overrides, tmp_path, capfd):
    data, run = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    train, test, truth = (
        pd.read_csv(small_dir / f"{name}.csv", keep_default_na=False)
        for name in ("train", "test", "test_labels")
    )
    names = ["toxic", "insult", "threat"]
    train = train.astype({"toxic": bool, "insult": float}).assign(threat=0, language="en")
    train.to_csv(data / "train.csv", sep=";")
    test.to_csv(data / "test.csv", sep="\t", index=False)
    truth.assign(**dict.fromkeys(names, -1)).to_csv(data / "test_labels.csv", index=False)
    arguments = ["run", "--data-dir", str(data), "--run-dir", str(run), "--set", *tiny_overrides]
    assert main(arguments) == 2
    assert "column 'language': 'en' is not a label" in capfd.readouterr().err
    finish_run(run, data, [*tiny_overrides, f"label_columns={','.join(names)}"])
    told = toxlib.reopen(run).data_note
    for part in (
        "semicolons",
        "tabs",
        "sample_submission.csv is not there: made",
        "about it: 'threat'",
        "nothing is graded",
    ):
        assert part in told, part
    assert toxlib.reopen(run).label_names == [name for name in train if name in names]
    assert list(pd.read_csv(run / "submission.csv")) == ["id", *toxlib.reopen(run).label_names]
    assert "test_grade" not in json.loads((run / "run.json").read_text())


def test_a_blend_can_be_moved_with_its_members(blended, tmp_path):
    moved = shutil.copytree(blended, tmp_path / "elsewhere")
    first = toxlib.load(blended).predict(["get lost"])
    assert np.array_equal(first, toxlib.load(moved).predict(["get lost"]))


@pytest.mark.parametrize(
    ("name", "content", "act", "expected"),
    [
        ("thresholds.json", None, "decide", "thresholds.json: no such file; run 04_thresholds"),
        ("thresholds.json", "{}", "decide", "not made for the labels of this run"),
        ("thresholds.json", "[", "decide", "damaged, it is not a JSON object"),
        ("calibration.json", None, "calibrated", "calibration.json: no such file"),
        ("calibration.json", '{"toxic": 1}', "calibrated", "not made for the labels"),
        ("model/config.json", None, "load", r"config.json: no such file; delete \S+ and run 03"),
        ("run.json", None, "load", "no run here"),
    ],
)
def test_what_is_missing_or_damaged_is_one_line(finished, tmp_path, name, content, act, expected):
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_text(content)

    def use():
        scorer = toxlib.load(copy)
        return (
            scorer.decide(["a"]) if act == "decide" else scorer.predict(["a"], act == "calibrated")
        )

    with pytest.raises(InputError, match=expected) as error:
        use()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "minilm/fold-0/linear/vocabulary.json",
            None,
            "linear: no linear models, or damaged ones; delete this",
        ),
        (
            "minilm/fold-0/linear/weights.safetensors",
            b"junk",
            "linear: no linear models, or damaged ones; delete this",
        ),
        ("weights.json", b"{}", "not made for the labels .* its members; run 06_blend"),
    ],
)
def test_a_damaged_blend_is_one_line(blended, tmp_path, name, content, expected):
    copy = shutil.copytree(blended, tmp_path / "copy")
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_bytes(content)
    with pytest.raises(InputError, match=expected):
        toxlib.load(copy)


def test_a_comment_must_be_a_string(finished):
    scorer = toxlib.load(finished)
    with pytest.raises(InputError, match=r"comment 2 is None, not a string"):
        scorer.predict(["fine", None])
    assert scorer.predict([]).shape == (0, 6)
