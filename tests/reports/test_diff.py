"""`toxlib diff` says where two runs part."""

import json
import shutil

from safetensors.numpy import load_file, save_file

from toxlib.__main__ import main


def _diff(a, b, capsys):
    assert main(["diff", str(a), str(b)]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_copy_does_not_differ(finished, tmp_path, capsys):
    copy = shutil.copytree(finished, tmp_path / "copy")
    assert _diff(finished, copy, capsys)[0].startswith("No difference")


def test_each_kind_of_difference_has_its_line(finished, tmp_path, capsys):
    copy = shutil.copytree(finished, tmp_path / "copy")
    record = json.loads((copy / "run.json").read_text())
    record["recipe"]["seed"], record["versions"]["torch"] = 7, "1.0"
    record["machine"]["threads"] = 99
    (copy / "run.json").write_text(json.dumps(record))
    weights = load_file(copy / "model" / "model.safetensors")
    name = max(name for name in weights if name.startswith("classifier"))
    weights[name] = weights[name] + 0.5
    save_file(weights, copy / "model" / "model.safetensors", {"format": "pt"})
    text = (copy / "submission.csv").read_text()
    first = text.splitlines()[1].split(",")[1]
    (copy / "submission.csv").write_text(text.replace(first, "0.999999", 1))
    (copy / "thresholds.json").unlink()
    lines = _diff(finished, copy, capsys)
    assert [line.split()[0] for line in lines] == [
        *("recipe", "versions", "machine", "model", "result", "result")
    ]
    assert lines[0].endswith("seed: 42 | 7")
    assert lines[3].endswith(f"fold 0: they differ by up to 0.5 (in {name})")
    assert f"thresholds.json: missing in {copy}" in lines[4]
    assert "submission.csv: they differ by up to" in lines[5]
