"""`predict --cascade`: comments that the linear models are sure about do not reach the encoder."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import toxlib
from toxlib.__main__ import main
from toxlib.data.text import prepare
from toxlib.evaluation import cascade
from toxlib.evaluation.parts import average
from toxlib.scoring import fold_models, score_files
from toxlib.scoring.cascading import fit_cascade
from toxlib.training.linear import LINEAR, LinearModels


@pytest.fixture
def run(finished, tmp_path, monkeypatch):
    """Copy a run; on its held-out rows the encoder and nb-lr score as lr does.

    So a cascade loses nothing, and the half of the comments that is tried may skip the encoder.
    """
    copy = shutil.copytree(finished, tmp_path / "run")
    name = "validation_predictions.csv"
    for folder in (copy, copy / "nb-lr"):
        shutil.copy(copy / "lr" / name, folder / name)
    monkeypatch.setattr(cascade, "SHARES", np.array([0.5]))
    return copy


@pytest.fixture
def texts(small_dir, tmp_path):
    """Write a file of 60 comments; return its path and the comments."""
    table = pd.read_csv(small_dir / "test.csv", dtype=str, keep_default_na=False)
    table.to_csv(tmp_path / "texts.csv", index=False)
    return tmp_path / "texts.csv", table["comment_text"].tolist()


def test_comments_that_skip_do_not_reach_the_encoder(run, texts, monkeypatch):
    chosen, plain = fit_cascade(run, 0.001), toxlib.load(run).predict(texts[1]).to_numpy()
    linear = LinearModels.load(run / "linear").predict(prepare(texts[1]))
    cheap = average(linear.values())
    skips = chosen.skips(cheap)
    assert 5 < skips.sum() < 55
    encoded, encode = [], fold_models.predict_probabilities

    def spy(model, tokenizer, comments, **how):
        encoded.extend(comments)
        return encode(model, tokenizer, comments, **how)

    monkeypatch.setattr(fold_models, "predict_probabilities", spy)
    scorer = toxlib.load(run, cascade=0.001)
    scores = scorer.predict(texts[1]).to_numpy()
    assert len(encoded) == (~skips).sum()
    assert scorer.skipped == skips.sum()
    assert np.allclose(scores[~skips], plain[~skips], atol=1e-6)
    assert np.allclose(scores[skips], chosen.to_costly_scale(cheap[skips]), atol=1e-6)
    assert scorer.predict([]).shape == (0, plain.shape[1])
    assert scorer.skipped == 0


def test_pieces_and_the_whole_file_come_out_alike(run, texts, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(score_files, "SHARD_ROWS", 10)
    command = ["predict", str(run), str(texts[0]), "--calibrated", "--decide"]
    assert main([*command, "--cascade", "0.001", "-o", str(tmp_path / "whole.csv")]) == 0
    told = capfd.readouterr().err
    assert "cascade 0.001: comments skip the encoder if the linear models score no" in told
    assert "AUC falls by 0.0000 [0.0000, 0.0000] from" in told
    rate = told.strip().splitlines()[-1]
    assert "of 60 rows (" in rate
    (tmp_path / "pieces").mkdir()
    in_pieces = [*command, "-o", str(tmp_path / "pieces")]
    assert main([*in_pieces, "--cascade", "0.001"]) == 0
    assert rate.split(";")[0] in capfd.readouterr().err
    whole = pd.read_csv(tmp_path / "whole.csv", dtype={"id": str}).set_index("id")
    pieces = pd.read_parquet(tmp_path / "pieces").set_index("id").loc[whole.index]
    assert len(list((tmp_path / "pieces").glob("part-*"))) == 6
    assert np.abs(whole - pieces).max().max() < 1e-6
    for other in ([], ["--cascade", "0.002"]):
        assert main([*in_pieces, *other]) == 2
        assert "holds scores with other options" in capfd.readouterr().err


def test_linear_models_that_are_not_sure_leave_all_to_the_encoder(run, texts, tmp_path, capfd):
    for name in LINEAR:
        path = run / name / "validation_predictions.csv"
        table = pd.read_csv(path, dtype={"id": str})
        table.iloc[:, 1:] = 0.5
        table.to_csv(path, index=False)
    command = ["predict", str(run), str(texts[0]), "-o", str(tmp_path / "scores.csv")]
    assert main([*command, "--cascade", "0.001"]) == 0
    assert "not sure enough, so the encoder scores all comments" in capfd.readouterr().err
    scores = pd.read_csv(tmp_path / "scores.csv").iloc[:, 1:]
    assert np.allclose(scores, toxlib.load(run).predict(texts[1]), atol=1e-6)


@pytest.mark.parametrize("value", ["x", "", "-0.001", "0.2", "nan", "1e999"])
def test_a_loss_that_is_no_sensible_number_is_one_line(value, tmp_path, capfd):
    command = ["predict", str(tmp_path / "no run"), "a.csv", "-o", str(tmp_path / "out.csv")]
    assert main([*command, f"--cascade={value}"]) == 2
    told = capfd.readouterr().err
    assert told.startswith(f"error: cascade={value!r}: not a number from 0 to 0.1; give the loss")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("blend", "a blend, which needs all of its members' scores for each comment; use"),
        ("no predictions", "validation_predictions.csv: no such file; run 03_train again"),
        ("no linear models", "linear: no linear models, or damaged ones; delete this folder"),
        ("no data", "elsewhere"),
    ],
)
def test_what_a_cascade_lacks_is_one_line(run, texts, tmp_path, capfd, fault, expected):
    record = json.loads((run / "run.json").read_text())
    if fault == "blend":
        record["members"] = {"a": {"run": "a", "predictions": "own"}}
    if fault == "no data":
        record["data_dir"] = str(tmp_path / "elsewhere")
    (run / "run.json").write_text(json.dumps(record))
    if fault.startswith("no linear"):
        shutil.rmtree(run / "linear")
    if fault == "no predictions":
        (run / "nb-lr" / "validation_predictions.csv").unlink()
    other = shutil.copy(texts[0], tmp_path / "other.csv")
    for files, output in (([texts[0]], "new.csv"), ([texts[0], other], "new")):
        command = ["predict", str(run), *map(str, files), "--cascade", "0.001"]
        assert main([*command, "-o", str(tmp_path / output)]) == 2
        line = capfd.readouterr().err.strip().splitlines()[-1]
        assert line.startswith("error: ")
        assert expected in line
    assert not (tmp_path / "new.csv").exists()
