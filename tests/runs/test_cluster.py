"""Ray is optional, starts with patience, and its nodes must share a folder."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from toxlib.errors import InputError
from toxlib.runs import cluster

IMPORT_ALL = """
import importlib, pkgutil, sys
sys.modules["ray"] = None
import toxlib
for module in pkgutil.walk_packages(toxlib.__path__, "toxlib."):
    if module.name != "toxlib.__main__":
        importlib.import_module(module.name)
"""


def test_everything_is_imported_without_ray():
    subprocess.run([sys.executable, "-c", IMPORT_ALL], check=True)


def test_without_ray_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(InputError, match=r"run `pip install -r requirements-cluster\.txt`, or"),
        cluster.ray_started(),
    ):
        pass


class SlowRay:
    """Stands for the module `ray`: its first start fails, the second needs three looks."""

    def __init__(self):
        self.starts, self.looks, self.stopped = 0, 0, 0
        services = SimpleNamespace(get_node=self._look)
        self._private = SimpleNamespace(services=services)

    def is_initialized(self) -> bool:
        return False

    def init(self, address: str, **_: object) -> None:
        assert address == "local"
        self.starts += 1
        if self.starts == 1:
            raise Exception("The current node timed out during startup.")
        assert self._private.services.get_node("address", "id") == {}

    def _look(self, *_: object) -> dict:
        self.looks += 1
        if self.looks < 3:
            raise RuntimeError("not there yet")
        return {}

    def shutdown(self) -> None:
        self.stopped += 1


def test_a_slow_start_is_tried_again_and_told_in_one_line(monkeypatch, capsys):
    slow = SlowRay()
    monkeypatch.setitem(sys.modules, "ray", slow)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    look = slow._private.services.get_node
    with cluster.ray_started() as ray:
        assert ray is slow
    assert (slow.starts, slow.looks, slow.stopped) == (2, 3, 2)
    assert slow._private.services.get_node == look
    told = capsys.readouterr().err
    assert told.startswith("Ray has not started ('The current node timed out during start")
    assert told.endswith("'); trying again, for 300 seconds at most.\n")


def test_a_start_that_fails_twice_is_one_line(monkeypatch):
    def fail(*arguments, **values):
        raise RuntimeError("no room in /dev/shm")

    slow = SlowRay()
    slow.init = fail
    monkeypatch.setitem(sys.modules, "ray", slow)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    told = r"Ray does not start on this machine \('no room in /dev/shm'\); free memory and disk"
    with pytest.raises(InputError, match=told), cluster.ray_started():
        pass


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense", ":", "a:b:c"])
def test_a_cluster_that_is_not_there_is_one_line(monkeypatch, address):
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match="no cluster of Ray is reached"), cluster.ray_started():
        pass


@pytest.mark.parametrize("written", [True, False])
def test_a_folder_that_a_node_does_not_share_is_refused(tmp_path, monkeypatch, written):
    def on_every_node(function, token, content):
        seen = function(token, content, "10.0.0.2-abc") if written else True
        return {"10.0.0.2-abc": seen}

    monkeypatch.setattr(cluster, "on_every_node", on_every_node)
    if written:
        cluster.check_shared(tmp_path)
    else:
        with pytest.raises(InputError, match=r"node 10\.0\.0\.2-abc does not see this folder"):
            cluster.check_shared(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_a_node_does_not_see_is_named(tmp_path, monkeypatch):
    path = tmp_path / "in.csv"
    path.write_text("text")
    found = [cluster._missing([(str(path), size)], "a node") for size in (4, 5)]
    assert found == ["", str(path)]
    monkeypatch.setattr(cluster, "on_every_node", lambda *_: {"node-1": str(path)})
    with pytest.raises(InputError, match=r"in\.csv: node node-1 does not see this file"):
        cluster.check_seen([path])
