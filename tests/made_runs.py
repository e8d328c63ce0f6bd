"""Make finished runs and blends in this process, with the files that the notebooks would leave."""

from pathlib import Path

import toxlib
from toxlib import files
from toxlib.evaluation import calibration, intervals, submission, thresholds
from toxlib.runs import blending, engines, folds
from toxlib.training.linear import LINEAR


def finish_run(folder: Path, data_dir: Path, overrides: list[str], recipe: str = "quick") -> Path:
    """Do what 03, 04 and 05 do."""
    write_04_and_05(train_run(folder, data_dir, overrides, recipe))
    return folder


def finish_blend(folder: Path, runs: list[Path]) -> Path:
    """Do what 06, 04 and 05 do."""
    write_04_and_05(blend_runs(folder, runs))
    return folder


def train_run(
    folder: Path, data_dir: Path, overrides: list[str], recipe: str = "quick"
) -> toxlib.Run:
    """Do what 03 does."""
    run = toxlib.open_run(recipe, str(data_dir), str(folder), overrides)
    run.claim()
    records, linear_records = engines.train_folds(run), folds.fit_linear_folds(run)
    linear = {name: run.predictions(name).validation() for name in LINEAR}
    own, labels = run.predictions().validation(), run.validation_labels
    report = intervals.evaluate_against(labels, own, linear, run.label_names, run.split.note)
    cost = {"cost": folds.total_cost(records, linear_records)}
    files.write_json(run.path("metrics.json"), report | cost)
    run.release()
    return run


def blend_runs(folder: Path, runs: list[Path]) -> toxlib.Run:
    """Do what 06 does."""
    run, members = blending.open_blend([str(path) for path in runs], str(folder))
    blended = blending.blend_parts(run.validation_labels, members)
    blending.write_blend(run, members, blended)
    files.write_json(run.path("metrics.json"), blending.blend_report(run, members, blended))
    run.release()
    return run


def write_04_and_05(run: toxlib.Run) -> None:
    write_04(run)
    write_05(run)


def write_04(run: toxlib.Run) -> None:
    """Write calibration.json and thresholds.json."""
    labels, own = run.validation_labels, run.predictions()
    scores, parts, names = own.validation(), own.parts(), run.label_names
    report = calibration.calibration_report(labels, parts, names)
    content = calibration.Calibrator.fit(labels, scores).to_json(names, report)
    files.write_json(run.path("calibration.json"), content)
    fitted = thresholds.cross_fitted_thresholds(labels, parts, run.recipe.wanted_precision)
    decisions = thresholds.threshold_report(labels, scores, fitted, names)
    files.write_json(run.path("thresholds.json"), thresholds.report_to_json(decisions))


def write_05(run: toxlib.Run) -> None:
    """Write the submission, and its grade if there are test labels."""
    tables, test = run.tables, run.predictions().test()
    path = run.path("submission.csv")
    submission.write_submission(path, tables.test_ids, test, tables.sample_submission)
    if tables.test_labels is not None:
        run.record(test_grade=submission.grade(tables.test_labels, test))
