"""Ctrl-C in the first moments, and applications that want to exit in theirs: an exit code and a word, no traceback."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.kit.extent import crossed
from tests.kit.server_process import APP, PACKAGE, PATIENCE, ServerProcess, until

pytestmark = pytest.mark.e2e

INTERRUPTED, STARTUP = 130, 3
WAYS = [(), ("--preload",), ("--no-supervise",), ("--no-supervise", "--loop", "asyncio")]
# The import sleeps in short pieces: a signal that arrives between the interpreter's last look at signals and the system
# call of `time.sleep` is noticed only when that sleep ends.
SLOW_IMPORT = "import pathlib, time\npathlib.Path('reached').touch()\nfor _ in range(6000): time.sleep(0.01)\n"
SLOW_START = """
import asyncio, pathlib
async def app(scope, receive, send):
    await receive()
    pathlib.Path('reached').touch()
    await asyncio.sleep(60)
"""
SLOW = {"import": SLOW_IMPORT, "lifespan": SLOW_START}


@pytest.fixture
def servers() -> Iterator[list[ServerProcess]]:
    started: list[ServerProcess] = []
    yield started
    for server in started:
        server.end()


@pytest.mark.feature
@crossed(
    ("module", "arguments"),
    ["corehttp.control.verb_names", "corehttp.config", "corehttp.arguments", "corehttp.sockets.listening"],
    [(), ("--no-supervise",)],
)
def test_ctrl_c_while_the_command_is_being_imported(
    tmp_path: Path, servers: list[ServerProcess], module: str, arguments: tuple[str, ...]
) -> None:
    # The interpreter writes on standard error which module it has imported. `verb_names` is the first that is
    # imported after Ctrl-C is handled; the line about `corehttp.cli` comes a moment before that.
    # coverage.py would import it before, so the process is not measured.
    env = {"COVERAGE_PROCESS_CONFIG": "", "COVERAGE_PROCESS_START": ""}
    server = ServerProcess((*APP, *arguments), tmp_path, env, program=("-X", "importtime", "-m", "corehttp"))
    servers.append(server)
    server.wait_for_log(rf"\| +{module}\n")
    os.killpg(server.pid, signal.SIGINT)
    assert server.wait() in (INTERRUPTED, 0)  # 0: the service had begun by then, and was stopped
    assert "Traceback" not in server.stderr
    assert "KeyboardInterrupt" not in server.stderr


@crossed(("place", "arguments"), SLOW, WAYS)
def test_ctrl_c_while_the_application_starts(
    start: Start, tmp_path: Path, arguments: tuple[str, ...], place: str
) -> None:
    (tmp_path / "main.py").write_text(SLOW[place])
    server = start("main", "--port", "0", *arguments, ready=False)
    until((tmp_path / "reached").exists, "the application's code")
    os.killpg(server.pid, signal.SIGINT)
    assert server.wait() == (INTERRUPTED if "--no-supervise" in arguments else 0)
    assert "Traceback" not in server.stderr


EXITS = {
    "in the lifespan": "raise SystemExit('no settings')",
    "in a task": "await asyncio.create_task(leave())",
    "in a task that nobody awaits": "task = asyncio.create_task(leave()); await asyncio.sleep(60)",
    "in a callback": "asyncio.get_running_loop().call_soon(sys.exit, 'no settings'); await asyncio.sleep(60)",
    "in a thread": "await asyncio.to_thread(sys.exit, 'no settings')",
}


@crossed(("where", "arguments"), EXITS, WAYS)
def test_an_application_that_exits_in_its_start_has_failed_to_start(
    start: Start, tmp_path: Path, arguments: tuple[str, ...], where: str
) -> None:
    (tmp_path / "main.py").write_text(
        "import asyncio, sys\n"
        "async def leave(): sys.exit('no settings')\n"
        "async def app(scope, receive, send):\n"
        "    await receive()\n"
        f"    {EXITS[where]}\n"
    )
    server = start("main", "--port", "0", *arguments, ready=False)
    assert server.wait() == STARTUP
    [error] = [line for line in server.stderr.splitlines() if " ERROR " in line]
    assert "start-up" in error
    assert "SystemExit" in server.stderr
    assert "no settings" in server.stderr


RUN = """
import asyncio, sys, threading, corehttp
async def app(scope, receive, send): ...
def run(): corehttp.run({target}, port={port})
async def main(): run()
{call}
"""


@pytest.mark.feature
@pytest.mark.parametrize("target", ["app", "'main:app'"], ids=["an object", "a name"])
@pytest.mark.parametrize(
    "call",
    ["thread = threading.Thread(target=run); thread.start(); thread.join()", "asyncio.run(main())"],
    ids=["in a thread", "in an event loop"],
)
def test_run_in_the_wrong_place_names_the_right_calls_and_binds_nothing(tmp_path: Path, target: str, call: str) -> None:
    (tmp_path / "main.py").write_text(
        "if __name__ == '__main__':\n    "
        + RUN.replace("\n", "\n    ").format(target=target, call=call, port="'surely no port'")
    )
    process = subprocess.run(
        [sys.executable, "main.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
    )
    last = process.stderr.rstrip().splitlines()[-1]
    assert last.startswith("corehttp.errors.StartupError: corehttp.run() ")
    assert "corehttp.run_in_thread(app)" in last
    assert "corehttp.serve(app)" in last
    assert "never awaited" not in process.stderr
