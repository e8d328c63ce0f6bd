"""The audit of finished runs: what 07 leaves in the run folder, and when it is out of date."""

import json

import nbformat
import numpy as np
import pandas as pd
import pytest

import toxlib
from toxlib import files
from toxlib.__main__ import main
from toxlib.data.identity_sentences import own_sentences
from toxlib.errors import InputError
from toxlib.evaluation import label_errors
from toxlib.evaluation.identity import RATE
from toxlib.reports import audit
from toxlib.runs import blending


def test_identity_json_says_what_decisions_say(audited):
    """The rate of each group is the share of its harmless sentences that `decide` flags."""
    found = audit.read_identity(audited)
    assert list(found) == [audit.OWN_SENTENCES, "t<b>$x$.csv"]
    own, given = found.values()
    sentences = own_sentences()
    assert (own.sentences, given.sentences) == (len(sentences), 24)
    assert len(given.groups) == 6
    harmless = sentences[sentences["toxic"] == 0]
    flagged = toxlib.load(audited).decide(harmless["text"].tolist()).any(axis=1).to_numpy()
    rates = pd.Series(flagged).groupby(harmless["identity"].to_numpy()).mean()
    assert {name: group[RATE] for name, group in own.groups.items()} == rates.to_dict()
    assert own.mean_false_positive_rate == pytest.approx(rates.mean())
    high = rates[rates > 2 * rates.mean()].index
    assert set(own.over_twice_the_mean) == set(high)
    assert all(any(name in line for line in own.in_words) for name in high)


def test_the_notebook_shows_every_part(audited):
    notebook = nbformat.read(audited / "07_audit.ipynb", as_version=4)
    assert {p.name for p in (audited / "figures").glob("audit_*.png")} == {
        "audit_length.png", "audit_false_positives.png", "audit_group_aucs.png",
        "audit_false_positives_given.png",
    }  # fmt: skip
    streams = [o.text for c in notebook.cells for o in c.get("outputs", ()) if "text" in o]
    shown = "".join(streams)
    assert "likely errors left out: a difference of" in shown
    assert "t<b>$x$.csv:" in shown
    assert all(
        line in shown for line in audit.read_identity(audited)[audit.OWN_SENTENCES].in_words
    )


def test_the_report_begins_with_what_was_found(audited):
    page = (audited / "report.html").read_text("utf-8")
    summary = page.index("What to be careful about")
    first = audit.read_identity(audited)[audit.OWN_SENTENCES].in_words[0]
    told = page.index(first.replace("'", "&#39;"))
    assert summary < told < page.index("07 · Where it is wrong")
    assert "07_audit" in json.loads((audited / "run.json").read_text())["seconds"]


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", '{"sources": 3}', '{"sources": {"a": 3}}', '{"sources": {"a": {"x": 1}}}'],
)
def test_a_damaged_identity_json_is_one_line(tmp_path, content):
    (tmp_path / "identity.json").write_text(content)
    with pytest.raises(InputError, match=r"identity.json: damaged.*; delete it and run `python"):
        audit.read_identity(tmp_path)
    assert audit.findings(tmp_path) == []


def test_a_model_that_flags_one_group_is_told_in_the_summary(tmp_path):
    sentences = own_sentences()
    flags = (sentences["toxic"] == 1) | (sentences["identity"] == "gay")
    table = audit.audit_sentences(sentences, flags.to_frame("toxic") * 0.8 + 0.1, np.array([0.5]))
    files.write_json(tmp_path / "thresholds.json", {"toxic": {"threshold": 0.5}})
    audit.write_identity(tmp_path, {"a source": table})
    assert audit.read_identity(tmp_path)["a source"].over_twice_the_mean == ["gay"]
    source, average, told = audit.findings(tmp_path)
    assert source == "a source:"
    assert average.startswith("On average over 44 groups, 2% of the sentences")
    assert told.startswith(
        "Sentences that name “gay” and are not insulting are flagged 44.0 times"
    )


def test_members_of_a_run_and_of_a_blend(executed, executed_blend):
    run, blend = toxlib.reopen(executed), toxlib.reopen(executed_blend)
    assert list(blending.members_of(run)) == ["own", "lr", "nb-lr"]
    members = blending.members_of(blend)
    assert list(members) == ["minilm", "lr", "nb-lr"]
    differ = blending.disagreements(blend.validation_labels, members)
    assert np.allclose(np.diag(differ), 0)
    assert np.allclose(differ, differ.T)
    said = {}
    for name in ("minilm", "lr"):
        scores = members[name].validation()[:, 0]
        said[name] = set(np.argsort(-scores, kind="stable")[: blend.validation_labels[:, 0].sum()])
    one = blending.disagreements(blend.validation_labels * [1, 0, 0, 0, 0, 0], members)
    shared = len(said["minilm"] & said["lr"]) / len(said["lr"])
    assert one.loc["minilm", "lr"] == pytest.approx(1 - shared)


def test_mistakes_end_in_one_line_and_change_nothing(executed, tmp_path, monkeypatch, capsys):
    (tmp_path / "t.csv").write_text("text,identity\na,b\n")
    before = (executed / "report.html").read_bytes()
    for arguments, fault in (
        ([str(tmp_path)], "no run here"),
        ([str(executed), "--templates", str(tmp_path / "t.csv")], "no column 'toxic'"),
        ([str(executed), "--templates", str(tmp_path / "no.csv")], "no such file"),
    ):
        assert main(["audit", *arguments]) == 2
        error = capsys.readouterr().err
        assert fault in error
        assert error.count("\n") == 1
    monkeypatch.setattr(label_errors, "find_spec", lambda name: None)
    assert main(["audit", str(executed)]) == 2
    assert "pip install -r requirements-audit.txt" in capsys.readouterr().err
    assert (executed / "report.html").read_bytes() == before
