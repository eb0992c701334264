"""What the log says of a worker's end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from corehttp.supervisor.processes import UNKNOWN, describe_exit, is_child, reap


@pytest.mark.parametrize(
    ("code", "oom", "text"),
    [
        (0, False, "exited with code 0"),
        (7, False, "exited with code 7"),
        (-signal.SIGKILL, False, "was killed by SIGKILL"),
        (-signal.SIGSEGV, False, "was killed by SIGSEGV"),
        (-signal.SIGKILL, True, "was killed by SIGKILL: its control group ran out of memory"),
        (-63, False, "was killed by signal 63"),
        (UNKNOWN, False, "has ended, and something else in this process has taken its exit code"),
    ],
)
def test_an_exit_is_told_in_words(code: int, oom: bool, text: str) -> None:
    assert describe_exit(code, oom) == text


def test_a_process_is_a_child_until_it_is_reaped_and_then_never_waited_for() -> None:
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(writer)
        os.read(reader, 1)
        os._exit(7)
    os.close(reader)
    assert is_child(pid)
    assert reap([pid], orphans=False) == []
    os.close(writer)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert is_child(pid)
    assert reap([pid], orphans=False) == [(pid, 7)]
    assert not is_child(pid)
    assert reap([pid], orphans=False) == [(pid, UNKNOWN)], "somebody else in this process has reaped it"


@pytest.mark.parametrize(
    "pid", [os.getppid(), os.getpid(), 1, 2**22 - 1], ids=["our parent", "we", "process 1", "nobody"]
)
def test_what_is_no_child_is_told_from_one(pid: int) -> None:
    assert not is_child(pid)


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ([], []),
        (["-O"], ["-O"]),
        (["-B", "-X", "dev"], ["-B", "-X", "dev"]),
        (["-W", "ignore::ImportWarning"], ["-Wignore::ImportWarning"]),
    ],
)
def test_a_worker_gets_the_options_of_the_interpreter_that_the_command_was_started_with(
    options: list[str], flags: list[str], tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\nfrom corehttp.supervisor.interpreters import interpreter_flags\n"
        "print(interpreter_flags(), 'subprocess' in sys.modules)\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    env["PYTHONPATH"] = os.pathsep.join([str(tmp_path), env["PYTHONPATH"]])
    for words in ([str(program)], ["-m", "program"], ["-c", "import program"]):
        run = subprocess.run(
            [sys.executable, *options, *words, "-O"], env=env, capture_output=True, text=True, check=True
        )
        assert run.stdout == f"{flags} {bool(options)}\n"
