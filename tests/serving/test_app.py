import json
import os
import signal
import subprocess
import sys
import threading

import httpx
import numpy as np
import pandas as pd
import pytest

import toxlib
from toxlib import files
from toxlib.__main__ import main

pytest.importorskip("fastapi", reason="needs requirements-serve.txt")
from starlette.testclient import TestClient

from toxlib.serving.app import make_app
from toxlib.serving.limits import MOST_BYTES, MOST_CHARACTERS, MOST_EXPLAINED, MOST_TEXTS

TEXTS = ["You are a fool.", "The tram is late."]


@pytest.fixture(scope="module")
def scorer(finished):
    return toxlib.load(finished)


@pytest.fixture
def client(scorer):
    with TestClient(make_app(scorer, ["testserver"])) as client:
        yield client


def test_scores_and_decisions_are_those_of_the_run(client, scorer):
    results = client.post("/predict", json={"texts": TEXTS}).json()["results"]
    scores = np.array([list(result["scores"].values()) for result in results])
    assert list(results[0]["scores"]) == scorer.label_names
    assert np.abs(scores - scorer.predict(TEXTS).to_numpy()).max() < 1e-6
    decisions = [list(result["decisions"].values()) for result in results]
    assert decisions == scorer.decide(TEXTS).to_numpy().tolist()
    calibrated = client.post("/predict", json={"texts": TEXTS, "calibrated": True}).json()
    scores = [list(result["scores"].values()) for result in calibrated["results"]]
    assert np.allclose(scores, scorer.predict(TEXTS, calibrated=True), atol=1e-6)
    assert [list(r["decisions"].values()) for r in calibrated["results"]] == decisions


def test_words_are_explained_on_request(client, scorer):
    body = {"texts": TEXTS, "explain": "obscene"}
    results = client.post("/predict", json=body).json()["results"]
    for result, table in zip(results, scorer.explain(TEXTS, "obscene"), strict=True):
        assert [word["word"] for word in result["words"]] == table["word"].tolist()
        effects = [word["effect"] for word in result["words"]]
        assert np.allclose(effects, table["effect"], atol=1e-6)


@pytest.mark.parametrize(
    ("content", "status", "fault"),
    [
        ("{", 400, "the request is not JSON"),
        ("[]", 422, "the request: input should be a valid dictionary"),
        ('{"texts": []}', 422, "texts: list should have at least 1 item"),
        ('{"texts": [7]}', 422, "texts.0: input should be a valid string"),
        ('{"texts": ["a"], "explian": "x"}', 422, "explian: extra inputs are not permitted"),
        (
            '{"texts": ["a"], "explain": "rude"}',
            422,
            "unknown label 'rude': choose one of 'toxic'",
        ),
        ('{"texts": ["\\ud800"]}', 422, "text 1: half a character"),
        (json.dumps({"texts": ["a", "b" * 1_000_000]}), 413, "text 2: 1000000 characters, but at"),
        (json.dumps({"texts": ["a"] * 10_000}), 413, f"10000 texts, but at most {MOST_TEXTS} are"),
        ('{"texts": ["' + "a" * MOST_BYTES + '"]}', 413, "the request has more than"),
    ],
)
def test_what_cannot_be_scored_gets_one_line(client, content, status, fault):
    answer = client.post("/predict", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["error"].startswith(fault)


def test_limits_can_be_reached(client):
    body = {"texts": ["a " * (MOST_CHARACTERS // 2)] + ["b"] * (MOST_TEXTS - 1)}
    assert client.post("/predict", json=body).status_code == 200
    texts = ["fool"] * (MOST_EXPLAINED + 1)
    answer = client.post("/predict", json={"texts": texts, "explain": "toxic"})
    assert answer.status_code == 413


def test_health_metrics_and_what_is_not_there(client, scorer):
    health = client.get("/health").json()
    assert health["labels"] == scorer.label_names
    client.post("/predict", json={"texts": TEXTS})
    client.post("/predict", content="{", headers={"Content-Type": "application/json"})
    metrics = client.get("/metrics").text
    assert 'toxlib_requests_total{path="/predict",status="200"} 1.0' in metrics
    assert 'toxlib_requests_total{path="/predict",status="400"} 1.0' in metrics
    assert "toxlib_batch_texts_sum 2.0" in metrics
    missing = client.get("/../../etc/passwd")
    assert missing.status_code == 404
    assert missing.json() == {"error": "Not Found"}


def test_other_hosts_and_pages_are_kept_out(client):
    refused = client.get("/health", headers={"Host": "evil.example"})
    assert refused.status_code == 400
    large = client.post("/predict", content="a" * (MOST_BYTES + 1))
    assert large.status_code == 413
    for answer in (client.get("/"), refused, large):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    metrics = client.get("/metrics").text
    assert 'toxlib_requests_total{path="/predict",status="413"} 1.0' in metrics


def test_a_failure_of_the_server_is_told_as_json(scorer, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of memory")

    with TestClient(make_app(scorer, ["testserver"]), raise_server_exceptions=False) as client:
        monkeypatch.setattr(scorer, "calibrate", fail)
        answer = client.post("/predict", json={"texts": TEXTS, "calibrated": True})
    assert answer.status_code == 500
    assert answer.json() == {"error": "the server has failed; its log says why"}


def test_too_many_texts_to_explain_are_refused(scorer, monkeypatch):
    """One request is being explained, and another one would have to wait for it."""
    began, may_end = threading.Event(), threading.Event()

    def explain(texts, label):
        began.set()
        may_end.wait(60)
        return [pd.DataFrame() for _ in texts]

    monkeypatch.setattr(scorer, "explain", explain)
    monkeypatch.setattr("toxlib.serving.app.MOST_EXPLAINING", len(TEXTS))
    body, answers = {"texts": TEXTS, "explain": "toxic"}, []
    with TestClient(make_app(scorer, ["testserver"])) as client:
        asking = threading.Thread(
            target=lambda: answers.append(client.post("/predict", json=body))
        )
        asking.start()
        assert began.wait(60)
        assert "toxlib_explaining_texts 2.0" in client.get("/metrics").text
        refused = client.post("/predict", json=body)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "2"
        may_end.set()
        asking.join()
    assert answers[0].status_code == 200


def test_a_request_that_has_begun_is_answered_after_sigterm(finished):
    command = [sys.executable, "-m", "toxlib", "serve", str(finished), "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(files.REPOSITORY)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        address = process.stdout.readline().split(" on ")[1].split()[0]
        answers, body = [], {"texts": ["You are a fool. " * 8] * MOST_TEXTS}

        def ask():
            answers.append(httpx.post(f"{address}/predict", json=body, timeout=120))

        asking = threading.Thread(target=ask)
        asking.start()
        while "toxlib_batch_texts_count 1.0" not in httpx.get(f"{address}/metrics").text:
            pass
        process.send_signal(signal.SIGTERM)
        asking.join()
        assert answers[0].status_code == 200
        assert len(answers[0].json()["results"]) == MOST_TEXTS
        assert process.wait(60) == 143


def test_a_taken_port_is_one_line(finished, capsys, listener):
    port = listener.server_port
    assert main(["serve", str(finished), "--port", str(port)]) == 2
    assert f"127.0.0.1:{port}: Address already in use; choose another" in capsys.readouterr().err
