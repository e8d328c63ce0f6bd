import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from toxlib.data.sample import LABELS
from toxlib.errors import InputError
from toxlib.evaluation import submission

SAMPLE = pd.DataFrame({"id": ["b", "a", "c"], "toxic": 0.5, "threat": 0.5})


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    labels = pd.DataFrame({"id": [f"i{n}" for n in range(60)]})
    labels[["toxic", "threat"]] = (rng.random((60, 2)) < 0.4).astype(int)
    labels.loc[50:, ["toxic", "threat"]] = -1
    scores = labels.copy()
    scores[["toxic", "threat"]] = rng.random((60, 2))
    labels.to_csv(tmp_path / "labels.csv", index=False)
    scores[::-1].to_csv(tmp_path / "scores.csv", index=False)
    return tmp_path, labels, scores


def test_the_samples_ids_order_and_columns(tmp_path):
    path = tmp_path / "submission.csv"
    values = np.array([[0.1, 0.123456789], [0.2, 0.2], [0.3, 1.0]], dtype=np.float32)
    submission.write_submission(path, ["a", "b", "c"], values, SAMPLE)
    table = pd.read_csv(path)
    assert list(table["id"]) == ["b", "a", "c"]
    assert list(table.columns) == list(SAMPLE.columns)
    assert (table[["toxic", "threat"]].to_numpy(np.float32) == values[[1, 0, 2]]).all()


@pytest.mark.parametrize(
    ("ids", "value", "expected"),
    [
        (["a", "b"], 0.5, "the sample submission: row 3, column 'id': 'c' is not in .*sion.csv;"),
        (
            ["a", "b", "c", "\x1b"],
            0.5,
            r"submission.csv: row 4, column 'id': '\\x1b' is not in the",
        ),
        (["a", "b", "c", "c"], 0.5, "/submission.csv: row 4, column 'id': id 'c' is in row 3"),
        (["a", "b", "c"], np.nan, "/submission.csv: row 1, column 'toxic': 'nan' is not a prob"),
        (["a", "b", "c"], 1.5, "/submission.csv: row 1, column 'toxic': '1.5' is not a prob"),
        (["a", "b", "c"], np.inf, "/submission.csv: row 1, column 'toxic': 'inf' is not a prob"),
    ],
)
def test_a_wrong_submission_is_refused_and_leaves_nothing(tmp_path, ids, value, expected):
    path = tmp_path / "submission.csv"
    with pytest.raises(InputError, match=expected):
        submission.write_submission(path, ids, np.full((len(ids), 2), value), SAMPLE)
    assert not list(tmp_path.iterdir())


def test_more_predictions_than_ids_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Shape"):
        submission.write_submission(tmp_path / "s.csv", list("abc"), np.full((4, 2), 0.5), SAMPLE)
    assert not list(tmp_path.iterdir())


def test_labels_that_grade_nothing_are_refused(files):
    folder, labels, _ = files
    labels.assign(toxic=-1, threat=-1).to_csv(folder / "labels.csv", index=False)
    with pytest.raises(InputError, match=r"labels\.csv: every row is -1"):
        submission.score_files(folder / "scores.csv", folder / "labels.csv")


def test_unscored_rows_do_not_count(files):
    folder, labels, scores = files
    result = submission.score_files(folder / "scores.csv", folder / "labels.csv")
    names = ["toxic", "threat"]
    expected = roc_auc_score(labels.loc[:49, names], scores.loc[:49, names])
    assert result["mean_columnwise_auc"] == pytest.approx(expected)
    assert (result["rows_scored"], result["rows_unscored"]) == (50, 10)
    assert result["place"] is None
    assert "no medal line" in submission.format_score(result)


def test_two_submissions_are_compared_on_the_same_resamples(files):
    folder, _, scores = files
    scores.to_csv(folder / "same.csv", index=False)
    result = submission.score_files(
        folder / "scores.csv", folder / "labels.csv", folder / "same.csv"
    )
    assert result["difference"]["mean_columnwise_auc"] == 0
    assert result["difference"]["error_ratio"] == 1
    assert "First compared with second" in submission.format_score(result)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: t[1:], "labels.csv: row 1, column 'id': 'i0' is not in .*bad.csv; both must"),
        (lambda t: pd.concat([t, t[:1].assign(id="new")]), "bad.csv: row 61, .* 'new' is not in"),
        (lambda t: pd.concat([t, t[:1]]), "bad.csv: row 61, column 'id': id 'i0' is in row 1"),
        (lambda t: t.rename(columns={"toxic": "tox"}), "missing 'toxic', extra 'tox'.; write ex"),
        (lambda t: t.assign(other=0), "extra 'other'.; write exactly 'id', 'toxic', 'threat'"),
        (lambda t: t.assign(threat=2), "bad.csv: row 1, column 'threat'"),
    ],
)
def test_score_refuses_what_does_not_match(files, change, expected):
    folder, _, scores = files
    change(scores).to_csv(folder / "bad.csv", index=False)
    with pytest.raises(InputError, match=expected):
        submission.score_files(folder / "bad.csv", folder / "labels.csv")


def test_columns_and_rows_may_have_any_order(files):
    folder, labels, scores = files
    expected = submission.score_files(folder / "scores.csv", folder / "labels.csv")
    order, notes = ["threat", "id", "toxic"], []
    scores[order].to_csv(folder / "scores.csv", sep=";")
    labels[order][::-1].to_csv(folder / "labels.csv", index=False)
    paths = folder / "scores.csv", folder / "labels.csv"
    result = submission.score_files(*paths, notes=notes)
    assert result["auc_per_label"] == pytest.approx(expected["auc_per_label"])
    assert [note.split(":")[1][:18] for note in notes] == [
        " the columns are s",
        " the first column ",
    ]


def test_medal_lines_need_every_scored_row():
    assert submission.medal(0.99, 1000, LABELS) is None
    assert submission.medal(float("nan"), 63_978, LABELS) is None
    assert "gold" in submission.medal(0.98740, 63_978, LABELS)
    assert "bronze" in submission.medal(0.98650, 63_978, LABELS[::-1])
    assert "below the median" in submission.medal(0.97, 63_978, LABELS)


def test_medal_lines_are_those_of_the_six_labels():
    assert submission.medal(0.99, 63_978, LABELS[:2]) is None
