"""What a user names as output: a file, a link, a pipe, a device, or `-`."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from toxlib import files
from toxlib.errors import InputError

WRITE = """
import sys
from pathlib import Path
from toxlib import files
with files.writing(Path(sys.argv[1])) as file:
    file.write("é\\n")
"""


def _write(path: Path, content: str = "new\n") -> None:
    with files.writing(path) as file:
        file.write(content)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder" / "out.csv"
    _write(path)
    with pytest.raises(TypeError), files.writing(path) as file:
        file.writelines(["half", None])
    assert path.read_text() == "new\n"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_target_is_replaced(tmp_path, exists):
    target, link = tmp_path / "target.csv", tmp_path / "links" / "out.csv"
    link.parent.mkdir()
    link.symlink_to(Path("..") / "target.csv")
    if exists:
        target.write_text("old")
    _write(link)
    assert link.is_symlink()
    assert target.read_text() == "new\n"
    assert list(link.parent.iterdir()) == [link]


def test_pipes_and_devices_are_written_and_stay(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    _write(pipe)
    reader.join()
    assert read == ["new\n"]
    assert pipe.is_fifo()
    _write(Path(os.devnull))
    assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_may_be_a_pipe_or_a_log(tmp_path, name):
    command = [sys.executable, "-c", WRITE, name]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment)
    assert done.stdout == "é\n".encode()
    log = tmp_path / "log"
    log.write_text("before\n")
    with log.open("a") as file:
        subprocess.run(command, stdout=file, check=True, cwd=tmp_path)
    assert log.read_text("utf-8") == "before\né\n"
    assert list(tmp_path.iterdir()) == [log]


def test_the_input_folders_and_loops_of_links_are_no_output(tmp_path):
    source = tmp_path / "in.csv"
    source.write_text("text")
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "hard").hardlink_to(source)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, fault in (
        ("in.csv", "the file that is read"),
        ("link", "the file that is read"),
        ("hard", "the file that is read"),
        ("loop", "a link that leads back to itself"),
        ("", "a folder; give the path of the CSV"),
    ):
        with pytest.raises(InputError, match=fault):
            files.check_output(tmp_path / name, source)
    files.check_output(tmp_path / "other.csv", source)
    files.check_output(Path("-"), source)
    with pytest.raises(InputError, match="give a folder"):
        files.check_folder(Path("-"))


def test_a_reader_that_ends_early_ends_the_command_quietly():
    end, start = os.pipe()
    os.close(end)
    command = [sys.executable, "-m", "toxlib", "recipes"]
    done = subprocess.run(command, stdout=start, stderr=subprocess.PIPE, check=False)
    os.close(start)
    assert (done.returncode, done.stderr) == (141, b"")
