"""A finished run is handed on as a folder or a repository that scores as the run does."""

import base64
import json
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard, constants

import toxlib
from toxlib import files
from toxlib.__main__ import main
from toxlib.errors import InputError
from toxlib.sharing import portable

KINDS = ["single", "folds", "blend"]
TEXTS = ["get lost, you idiot", "thank  you\nfor the note", "tram " * 100]


@pytest.fixture(params=KINDS)
def run(request, made) -> Path:
    return made[request.param]


def export(run: Path, output: Path) -> Path:
    assert main(["export", str(run), "-o", str(output), "--format", "toxlib"]) == 0
    return output


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def check_same_scores(run: Path, folder: Path) -> None:
    expected, found = toxlib.load(run), toxlib.load(folder)
    scores = expected.predict(TEXTS)
    assert scores.to_numpy().std() > 0.01
    pd.testing.assert_frame_equal(found.predict(TEXTS), scores)
    calibrated = expected.predict(TEXTS, calibrated=True)
    pd.testing.assert_frame_equal(found.predict(TEXTS, calibrated=True), calibrated)
    pd.testing.assert_frame_equal(found.decide(TEXTS), expected.decide(TEXTS))


def test_a_folder_that_was_moved_scores_as_the_run_does(run, tmp_path, monkeypatch):
    folder = export(run, tmp_path / "new" / "folder")
    folder = Path(shutil.move(folder, tmp_path / "elsewhere"))
    monkeypatch.chdir(folder.parent)
    check_same_scores(run, Path("elsewhere"))
    assert ModelCard.load(folder / "README.md").data.eval_results


def test_a_folder_has_what_scoring_needs_and_nothing_private(run, hostile_dir, tmp_path):
    folder = export(run, tmp_path / "folder")
    model = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    expected = {"README.md", "run.json", "thresholds.json", "calibration.json"}
    inside = [""] if run.name == "single" else ["fold-0/", "fold-1/"]
    if run.name == "blend":
        inside = [f"run-{m}/fold-{k}/" for m in (0, 1) for k in (0, 1)]
        expected |= {"weights.json", "run-0/run.json", "run-1/run.json"}
        linear = ["vocabulary.json", "weights.safetensors"]  # of the first member alone
        expected |= {f"run-0/fold-{k}/linear/{name}" for k in (0, 1) for name in linear}
    assert files_in(folder) == expected | {
        f"{part}model/{name}" for part in inside for name in model
    }
    content = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    comments = pd.read_csv(hostile_dir / "train.csv", keep_default_na=False)["comment_text"]
    private = [str(tmp_path.parent).encode(), str(run.parent).encode(), str(hostile_dir).encode()]
    private += [comment[:40].encode() for comment in comments if len(comment) > 40]
    assert len(private) > 100
    for path, found in content.items():
        assert not [secret for secret in private if secret in found], path


def test_the_programs_of_the_card_run_and_give_the_scores(made, tmp_path):
    folder = export(made["single"], tmp_path / "folder")
    card = (folder / "README.md").read_text("utf-8")
    programs = re.findall("```python\n(.*?)```", card, re.DOTALL)
    assert len(programs) == 2
    first = re.sub(r'^scorer.predict.*t"\]\) ', r"scores = \g<0>", programs[0], flags=re.M)
    last = "print(json.dumps([scores.to_numpy()[0].tolist(), probabilities[0].tolist()]))"
    program = f"import json\n{first}\n{programs[1]}\n{last}"
    program = program.replace("FOLDER", str(folder))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    scores, from_logits = json.loads(done.stdout.splitlines()[-1])
    expected = toxlib.load(made["single"]).predict(["some comment"]).to_numpy()[0]
    assert np.allclose(scores, expected, atol=1e-6)
    assert np.allclose(from_logits, expected, atol=1e-5)


def add_pickle(run: Path, _: Path) -> None:
    (run / "model" / "training_args.bin").write_bytes(b"x")


FAULTS = {
    "pickle": (add_pickle, "training_args.bin: not a file of a kind that is handed on (.safet"),
    "no model": (lambda run, _: files.remove(run / "model"), "config.json: no such file; delete"),
    "no thresholds": (lambda run, _: (run / "thresholds.json").unlink(), "run 04_thresholds on"),
    "output": (lambda _, out: (out.mkdir(), (out / "x").touch()), "a folder with other files"),
    "unfinished": (lambda run, _: (run / "metrics.json").unlink(), "metrics.json: no such file;"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_and_nothing_is_written(made, fault, tmp_path, capsys):
    run, output = shutil.copytree(made["single"], tmp_path / "run"), tmp_path / "folder"
    damage, message = FAULTS[fault]
    damage(run, output)
    before = files_in(tmp_path)
    assert main(["export", str(run), "-o", str(output), "--format", "toxlib"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert files_in(tmp_path) == before


def test_a_process_that_has_loaded_no_model_exports_each_head(made, tmp_path):
    """The blend has a model of toxlib's own type, which transformers does not know by itself."""
    command = [sys.executable, "-m", "toxlib", "export", str(made["blend"]), "--format", "toxlib"]
    done = subprocess.run([*command, "-o", str(tmp_path / "x")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "x" / "run-1" / "fold-1" / "model" / "model.safetensors").exists()


def test_int8_is_refused(made, tmp_path, capsys):
    command = ["export", str(made["single"]), "-o", str(tmp_path / "x"), "--format", "toxlib"]
    assert main([*command, "--int8"]) == 2
    assert "--int8: only of a graph" in capsys.readouterr().err


def test_what_needs_the_data_says_that_the_folder_was_exported(made, tmp_path):
    folder = export(made["single"], tmp_path / "folder")
    message = "an exported folder, which can only score; give the run folder"
    for use in (
        lambda: toxlib.reopen(folder),
        lambda: toxlib.load(folder, cascade=0.01),
        lambda: portable.export_folder(folder, tmp_path / "again"),
    ):
        with pytest.raises(InputError, match=message):
            use()


class Hub(ThreadingHTTPServer):
    """The part of the Hugging Face hub that an upload needs."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.refuses: dict[str, int] = {}  # end of a path → status
        self.is_private, self.branches, self.uploaded, self.tokens = False, [], {}, set()
        self.url = f"http://127.0.0.1:{self.server_port}"


class HubHandler(BaseHTTPRequestHandler):
    server: Hub

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.tokens.add(self.headers["Authorization"])
        *_, before, last = self.path.partition("?")[0].split("/")
        for end, status in self.server.refuses.items():
            if self.path.endswith(end):
                url = f"{self.server.url}/ann/run"  # the hub says it if the repository is there
                return self.answer({"error": "no <b>\x1b[31m", "url": url}, status)
        if last == "create":
            wanted = json.loads(body)
            self.server.is_private = wanted.get("private") or wanted.get("visibility") == "private"
            return self.answer({"url": f"{self.server.url}/ann/run", "id": "ann/run"})
        if last == "validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if before == "branch":
            self.server.branches.append(last)
            return self.answer({})
        if before == "preupload":
            names = [file["path"] for file in json.loads(body)["files"]]
            how = {"uploadMode": "regular", "shouldIgnore": False}
            return self.answer({"files": [{"path": name, **how} for name in names]})
        assert before == "commit"
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                content = base64.b64decode(line["value"]["content"])
                self.server.uploaded[last, line["value"]["path"]] = content
        commit = {"commitUrl": f"{self.server.url}/ann/run/commit/1", "commitOid": "1"}
        return self.answer(commit | {"success": True})

    def do_GET(self):
        status = self.server.refuses.get("ann/run", 200)
        self.answer({"id": "ann/run", "private": self.server.is_private, "siblings": []}, status)

    def answer(self, content: dict, status: int = 200):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(monkeypatch):
    """Stand in for the hub, with a token, and without what a user has set."""
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_made_up")
        monkeypatch.setattr(
            huggingface_hub,
            "HfApi",
            lambda: huggingface_hub.hf_api.HfApi(server.url, token="hf_made_up"),
        )
        yield server
        server.shutdown()


def test_a_pushed_run_scores_as_the_run_does(run, hub, tmp_path, capsys):
    assert main(["push", str(run), "ann/run", "--private", "--revision", "v1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{hub.url}/ann/run/commit/1"
    assert (hub.branches, hub.tokens) == (["v1"], {"Bearer hf_made_up"})
    for (revision, name), content in hub.uploaded.items():
        assert revision == "v1"
        path = tmp_path / "got" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert files_in(tmp_path / "got") == files_in(export(run, tmp_path / "exported"))
    check_same_scores(run, tmp_path / "got")


@pytest.mark.parametrize(
    ("refuses", "message"),
    [
        ({"create": 401, "ann/run": 401}, "ann/run: your token is not valid; run `hf auth login`"),
        ({"preupload/main": 403}, "ann/run: your token may not write there; take one with"),
        ({"preupload/main": 404}, "ann/run: there is no such repository or branch"),
        ({"commit/main": 418}, r"ann/run: the hub answers 418: 'no <b>\x1b[31m'; try again later"),
        ({"validate-yaml": 400}, "ann/run: the hub does not take the model card (ValueError: In"),
    ],
)
def test_what_the_hub_refuses_is_one_line(made, hub, refuses, message, capsys):
    hub.refuses = refuses
    assert main(["push", str(made["single"]), "ann/run"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
    assert not hub.uploaded


def test_a_public_repository_does_not_get_a_private_run(made, hub, monkeypatch, capsys):
    hub.refuses = {"create": 409}  # it is there
    assert main(["push", str(made["single"]), "ann/run", "--private"]) == 2
    assert "ann/run: the repository is there already, and it is public;" in capsys.readouterr().err
    assert not hub.uploaded


@pytest.mark.parametrize("name", ["a/b/c", "ann/ru n", "../run", "-run", "ann/\x1b[31m"])
def test_a_name_that_is_none_is_one_line(made, hub, name, capsys):
    assert main(["push", "--", str(made["single"]), name]) == 2
    error = capsys.readouterr().err
    assert "no name of a repository (HFValidationError: " in error
    assert "give OWNER/NAME" in error
    assert error.count("\n") == 1
    assert error[:-1].isprintable()


def test_without_network_token_or_run_it_is_one_line(made, hub, monkeypatch, tmp_path, capsys):
    def refused(run: Path, message: str) -> None:
        assert main(["push", str(run), "ann/run"]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1

    refused(tmp_path, "no run here")
    closed = huggingface_hub.hf_api.HfApi("http://127.0.0.1:9", token="hf_made_up")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: closed)
    refused(made["single"], "ann/run: the hub cannot be reached (ConnectError: ")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    refused(made["single"], "no token for the Hugging Face hub; run `hf auth login`, or set HF_")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(made["single"], "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set, so nothing can be")
