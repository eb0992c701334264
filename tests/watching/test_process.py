"""What the watcher does besides finding changes: it forgets compiled code, and tells which files have changed."""

import importlib.util
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from corehttp.config import Config
from corehttp.watching import process
from corehttp.watching.process import changes, forget_compiled, told, watcher


def test_compiled_code_of_a_changed_file_is_removed(tmp_path: Path) -> None:
    compiled = Path(importlib.util.cache_from_source(str(tmp_path / "main.py")))
    compiled.parent.mkdir()
    compiled.touch()
    forget_compiled(str(tmp_path / "main.py"))
    assert not compiled.exists()
    forget_compiled(str(tmp_path / "main.py"))
    forget_compiled(str(tmp_path / "index.html"))


def test_some_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = [str(tmp_path / f"{number}.py") for number in range(5)]
    assert told({paths[0]}) == "0.py has changed"
    assert told({paths[1], paths[0]}) == "0.py, 1.py have changed"
    assert told(set(paths)) == "0.py, 1.py, 2.py and 2 more files have changed"
    assert told({"/elsewhere/a.py"}) == "/elsewhere/a.py has changed"


def test_a_name_that_is_no_text_is_told_all_the_same() -> None:
    assert told({os.fsdecode(b"/a/\xff.py")}) == r"/a/\udcff.py has changed"


@pytest.mark.parametrize(("wish", "polls"), [("1", True), ("true", True), ("false", False), ("Disabled", False)])
def test_polling_is_asked_for_as_watchfiles_has_it(monkeypatch: pytest.MonkeyPatch, wish: str, polls: bool) -> None:
    monkeypatch.setenv("WATCHFILES_FORCE_POLLING", wish)
    assert (watcher()[0] is None) is polls


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise ModuleNotFoundError(\"No module named 'watchfiles'\")", "it is quicker with watchfiles"),
        ("raise ImportError('wrong ELF class')", "watchfiles cannot be imported: wrong ELF class"),
    ],
)
def test_without_a_watchfiles_that_can_be_imported_files_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    (tmp_path / "watchfiles.py").write_text(code)
    monkeypatch.delitem(sys.modules, "watchfiles", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delenv("WATCHFILES_FORCE_POLLING", raising=False)
    watch, how = watcher()
    assert watch is None
    assert reason in how


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The options of a service that is started from an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return Config(app="main:app", reload=True, reload_delay=0.01)


def test_where_the_system_cannot_watch_files_are_looked_at(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(directories: Sequence[str]) -> Iterator[bool]:
        yield False
        (tmp_path / "main.py").touch()
        raise OSError("OS file watch limit reached")

    monkeypatch.setattr(process, "watcher", lambda: (full, "watchfiles"))
    monkeypatch.setattr(logging.getLogger("corehttp"), "propagate", True)
    assert next(changes(config, sys.path, time.time())) == {str(tmp_path / "main.py")}
    assert "the system cannot watch the files (OS file watch limit reached)" in caplog.text


def test_files_that_changed_while_the_watcher_started_are_told_first(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watcher() -> tuple[None, str]:
        (tmp_path / "main.py").touch()
        return None, "polling"

    monkeypatch.setattr(process, "watcher", watcher)
    assert next(changes(config, sys.path, time.time())) == {str(tmp_path / "main.py")}


def test_files_that_have_changed_since_the_last_watcher_looked_are_told_first(config: Config, tmp_path: Path) -> None:
    for name, changed in (("before.py", 1000.0), ("missed.py", 1002.0), ("later.py", 1003.0), ("notes.txt", 1004.0)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (changed, changed))
    assert next(changes(config, sys.path, 1001.0)) == {str(tmp_path / "missed.py"), str(tmp_path / "later.py")}
