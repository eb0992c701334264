"""The file of --pid: whole or as it was, and removed only by whom it names."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from corehttp.errors import StartupError
from corehttp.pid_file import kept, rewrite

OWN = f"{os.getpid()}\n"


def test_it_is_there_while_the_service_runs(tmp_path: Path) -> None:
    path = tmp_path / "shop.pid"
    path.write_text("1\n")  # of a service that was killed
    with kept(str(path)):
        assert path.read_text() == OWN
        assert os.listdir(tmp_path) == ["shop.pid"]
    assert not path.exists()


def test_it_is_removed_after_a_failure_too(tmp_path: Path) -> None:
    path = tmp_path / "shop.pid"
    with pytest.raises(KeyboardInterrupt), kept(str(path)):
        raise KeyboardInterrupt
    assert not path.exists()


def test_that_of_a_successor_stays(tmp_path: Path) -> None:
    path = tmp_path / "shop.pid"
    with kept(str(path)):
        path.write_text("1\n")
    assert path.read_text() == "1\n"
    with kept(str(path), later=True):
        assert path.read_text() == "1\n"
        rewrite(str(path))
        assert path.read_text() == OWN
    assert not path.exists()


def test_one_that_somebody_has_removed_or_overwritten_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "shop.pid"
    with kept(str(path)):
        path.unlink()
    with kept(str(path)):
        path.write_bytes(b"\xff" * 100)
    assert path.exists()


def test_one_that_cannot_be_written_is_an_error_and_leaves_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "directory").mkdir()
    for path, reason in ((tmp_path / "nowhere" / "pid", "No such file"), (tmp_path / "directory", "Is a directory")):
        with pytest.raises(StartupError, match=f"^pid: {path} cannot be written: {reason}"), kept(str(path)):
            pass
        with caplog.at_level(logging.ERROR):
            rewrite(str(path))
    assert os.listdir(tmp_path) == ["directory"]


HOLDING = """
import sys
from corehttp.pid_file import kept
with kept(sys.argv[1]):
    print(flush=True)
    sys.stdin.read()
"""


def test_that_of_a_service_that_runs_is_left_alone_until_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "shop.pid"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"\n"
        told = f"^pid: {path} is the file of process {other.pid}, which runs: name another file$"
        with pytest.raises(StartupError, match=told), kept(str(path)):
            pass
        assert path.read_text() == f"{other.pid}\n"
        other.kill()
    assert path.exists()
    with kept(str(path)):
        assert path.read_text() == OWN


@pytest.mark.parametrize("content", [b"import os\n", b"\xff\x00" * 20, b"12 monkeys"])
def test_a_file_that_holds_anything_else_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "main.py"
    path.write_bytes(content)
    with pytest.raises(StartupError, match=f"^pid: {path} holds no process id, and is left as it is"), kept(str(path)):
        pass
    assert path.read_bytes() == content


def test_what_is_no_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "device"
    path.symlink_to(os.devnull)
    with pytest.raises(StartupError, match=f"^pid: {path} is no regular file, and is left as it is"), kept(str(path)):
        pass
    assert path.is_symlink()


def test_without_a_path_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with kept(None):
        assert os.listdir(tmp_path) == []
