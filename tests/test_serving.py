"""The first worker's interpreter is started as soon as the options are read, where nothing that it keeps can change."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from corehttp import serving
from corehttp.errors import ConfigError, ExitCode
from corehttp.supervisor import interpreters

Serve = Callable[..., ExitCode]


@pytest.fixture
def early() -> list[str]:
    """What was done with the interpreter, in order."""
    return []


@pytest.fixture
def serve(early: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Serve:
    """Serve with options on two CPUs, without sockets and workers; return the exit code."""

    def start(*given: object, **named: object) -> ExitCode:
        early.append("the service")
        return ExitCode.CLEAN

    def serve(**options: object) -> ExitCode:
        with pytest.raises(SystemExit) as ended:
            serving.serve({"app": "main:app", **options})
        return ExitCode(int(ended.value.code or 0))

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.setattr(serving, "available_cpus", lambda: 2)
    monkeypatch.setattr(os, "get_inheritable", lambda fd: False)
    monkeypatch.setattr("corehttp.server.start", start)
    monkeypatch.setattr(interpreters, "start_early", lambda module, title: early.append(f"{module} {title}"))
    monkeypatch.setattr(interpreters, "end_early", lambda: early.append("end"))
    return serve


STARTED = "corehttp.worker.process main:app"


@pytest.mark.parametrize("options", [{}, {"workers": "2"}, {"reload": True}, {"env_file": "settings.env"}])
def test_the_interpreter_comes_before_the_service_and_is_ended_where_that_has_not_taken_it(
    serve: Serve, early: list[str], options: dict[str, object]
) -> None:
    assert serve(**options) is ExitCode.CLEAN
    assert early == [STARTED, "the service", "end"]


@pytest.mark.parametrize(
    "options",
    [
        {"preload": True},
        {"supervise": False},
        {"user": "nobody"},
        {"umask": "027"},
        {"chdir": "/"},
        {"bind": ["fd://3"]},
        {"fd": 3},
        {"bind": ["127.0.0.1:0", "systemd:web"]},
    ],
    ids=str,
)
def test_none_is_started_where_the_options_say_what_a_process_keeps_from_its_start(
    serve: Serve, early: list[str], options: dict[str, object]
) -> None:
    assert serve(**options) is ExitCode.CLEAN
    assert early == ["the service", "end"]


def test_none_is_started_on_one_cpu(serve: Serve, early: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "available_cpus", lambda: 1)
    serve()
    assert early == ["the service", "end"]


def test_none_is_started_under_a_service_manager(
    serve: Serve, early: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/notify")
    serve()
    assert early == ["the service", "end"]


def test_none_is_started_where_it_would_inherit_a_descriptor(
    serve: Serve, early: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    monkeypatch.setattr(os, "get_inheritable", lambda fd: fd == writer)
    serve()
    os.close(reader)
    os.close(writer)
    assert early == ["the service", "end"]


@pytest.mark.parametrize("options", [{"port": "many"}, {"workers": "many"}, {"workers": "2", "supervise": False}])
def test_none_is_started_for_wrong_options(serve: Serve, early: list[str], options: dict[str, object]) -> None:
    assert serve(**options) is ExitCode.USAGE
    assert early == ["end"]


def test_it_is_ended_where_the_service_cannot_start(
    serve: Serve, early: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*given: object, **named: object) -> ExitCode:
        raise ConfigError("preload needs Linux")

    monkeypatch.setattr("corehttp.server.start", refuse)
    assert serve() is ExitCode.USAGE
    assert early == [STARTED, "end"]
    assert capsys.readouterr().err == "Error: preload needs Linux\n"


COMMAND = """
import os, sys
from corehttp.supervisor import interpreters
os.sched_getaffinity = lambda pid: {0, 1}
interpreters.start_early = lambda module, title: os._exit(77)
from corehttp.cli import main
main()
"""


@pytest.mark.parametrize(
    ("words", "starts"),
    [
        (["main:app", "--port", "0"], True),
        (["--help"], False),
        (["list"], False),
        (["main:app", "--prot", "0"], False),
        (["main:app", "--check-config"], False),
    ],
)
def test_a_command_that_serves_nothing_starts_none(words: list[str], starts: bool, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("async def app(scope, receive, send): ...\n")
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    run = subprocess.run(
        [sys.executable, "-c", COMMAND, *words], cwd=tmp_path, env=environment, capture_output=True, check=False
    )
    assert (run.returncode == 77) is starts, run.stderr
