"""What the application registered to run at its end runs, within a limit; a program that called `run()` goes on."""

import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.kit.extent import varied
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import ServerProcess, refused, until

pytestmark = pytest.mark.e2e

MODES = [(), ("--preload",), ("--no-supervise",), ("--no-supervise", "--loop", "asyncio")]
APP = """
import asyncio, atexit, multiprocessing, threading, time

def note(what):
    with open("notes", "a") as file:
        file.write(what + "\\n")

def handler():
    time.sleep(1)
    note("handler")

def thread():
    leaving.wait()
    time.sleep(1)
    note("thread")

def executor():
    leaving.wait()
    time.sleep(1)
    note("executor")

leaving = threading.Event()
atexit.register(handler)

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        threading.Thread(target=thread, name="uploader").start()
        asyncio.get_running_loop().run_in_executor(None, executor)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        leaving.set()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})
"""


def names(mode: tuple[str, ...]) -> str:
    return " ".join(mode) or "supervised"


@pytest.mark.parametrize("mode", varied(*MODES), ids=names)
def test_exit_handlers_and_threads_run_to_their_end(start: Start, tmp_path: Path, mode: tuple[str, ...]) -> None:
    (tmp_path / "web.py").write_text(APP)
    server = start("web:app", "--port", "0", *mode)
    assert server.stop() == 0
    assert sorted((tmp_path / "notes").read_text().split()) == ["executor", "handler", "thread"]
    assert "cut at the end" not in server.stderr


@pytest.mark.parametrize("mode", varied(*MODES), ids=names)
def test_a_thread_that_never_ends_is_named_and_cut(start: Start, tmp_path: Path, mode: tuple[str, ...]) -> None:
    (tmp_path / "web.py").write_text(APP.replace("leaving.set()", "pass"))
    server = start("web:app", "--port", "0", "--timeout-exit", "0.5", *mode)
    with RawConnection(server.port) as client:
        client.get("/")
    assert server.stop() == 0
    server_log = server.stderr
    assert "cut at the end of --timeout-exit (0.5 s): the thread 'uploader' in\n" in server_log
    assert "web.py" in server_log
    assert "leaving.wait()" in server_log
    assert '"GET / HTTP/1.1" 200' in server.stdout, "a line of the access log was lost"


def test_an_exit_handler_that_never_ends_is_shown_and_cut(start: Start, tmp_path: Path) -> None:
    (tmp_path / "web.py").write_text(APP.replace("time.sleep(1)\n    note", "time.sleep(600)\n    note", 1))
    server = start("web:app", "--port", "0", "--timeout-exit", "3")
    assert server.stop() == 0
    assert "cut at the end of --timeout-exit (3 s): the main thread in\n" in server.stderr
    assert "in handler" in server.stderr


@pytest.mark.parametrize("mode", [(), ("--preload",), ("--no-supervise",)], ids=names)
def test_a_failed_start_is_not_held_up_by_a_thread(start: Start, tmp_path: Path, mode: tuple[str, ...]) -> None:
    (tmp_path / "web.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, name='waits').start()\nraise ValueError\n"
    )
    server = start("web:app", "--port", "0", "--timeout-exit", "0.2", *mode, ready=False)
    assert server.wait() == 3
    assert "the thread 'waits' in" in server.stderr


def test_no_thread_keeps_the_template_of_a_dead_supervisor(start: Start, tmp_path: Path) -> None:
    thread = "threading.Thread(target=threading.Event().wait, name='waits').start()"
    (tmp_path / "web.py").write_text(f"{APP}\n{thread}\n")
    server = start("web:app", "--port", "0", "--timeout-exit", "0.2", "--preload")
    server.signal(signal.SIGKILL)
    until(lambda: not server.processes(), "the end of all processes")


@pytest.mark.parametrize("mode", [(), ("--no-supervise",)], ids=names)
def test_the_last_line_comes_after_all_that_runs_at_the_end(
    start: Start, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    (tmp_path / "web.py").write_text(APP)
    server = start("web:app", "--port", "0", *mode)
    assert server.stop() == 0
    last = server.stderr.splitlines()[-1]
    assert float(last.partition("stopped after ")[2].partition(" s:")[0]) >= 1, last  # the handler sleeps so long


def test_a_second_sigterm_does_not_cut_exit_handlers(start: Start, tmp_path: Path) -> None:
    (tmp_path / "web.py").write_text(APP.replace("def handler():", "def handler():\n    note('begun')"))
    server = start("web:app", "--port", "0", "--no-supervise")
    server.signal(signal.SIGTERM)
    until(lambda: (tmp_path / "notes").exists() and "begun" in (tmp_path / "notes").read_text(), "the exit handler")
    assert server.stop() == 0
    assert "handler" in (tmp_path / "notes").read_text()


PROGRAM = """
import asyncio, signal, sys, threading, time
import corehttp

async def app(scope, receive, send):
    if scope["path"] == "/slow":
        print("begun", flush=True)
        await asyncio.sleep(600)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"served"})

def own(signum, frame):
    print("own handler", flush=True)

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, own)
    try:
        corehttp.run(APP, port=0, **OPTIONS)
        print("returned", flush=True)
    except SystemExit as error:
        print("code", int(error.code), flush=True)
    finally:
        time.sleep(1)  # more than the server has ever allowed
        signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.set_wakeup_fd(-1) == -1
        assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
        print("saved", flush=True)
"""


def program(directory: Path, app: str, options: str) -> ServerProcess:
    (directory / "program.py").write_text(PROGRAM.replace("APP", app).replace("OPTIONS", options))
    server = ServerProcess([], directory, program=["program.py"])
    server.wait_until_ready()
    return server


@pytest.mark.feature
@pytest.mark.parametrize(
    ("app", "options"), [("app", "{}"), ("app", "{'loop': 'asyncio'}"), ("'program:app'", "{'workers': 2}")]
)
def test_a_program_goes_on_behind_run(tmp_path: Path, app: str, options: str) -> None:
    server = program(tmp_path, app, options)
    try:
        assert server.stop() == 0
    finally:
        server.end()
    said = [line for line in server.stdout.splitlines() if "HTTP" not in line]
    assert said == ["returned", "own handler", "saved"], server.stderr


@pytest.mark.parametrize("options", ["{'loop': 'uvloop'}", "{'loop': 'asyncio'}"])
def test_a_second_control_c_ends_run_but_not_its_program(tmp_path: Path, options: str) -> None:
    server = program(tmp_path, "app", options)
    try:
        with RawConnection(server.port) as client:
            client.ask("/slow")
            until(lambda: "begun" in server.stdout, "the request")
            server.signal(signal.SIGINT)
            until(lambda: refused(server.port), "the beginning of the stop")
            server.signal(signal.SIGINT)
            assert server.wait() == 0
    finally:
        server.end()
    said = [line for line in server.stdout.splitlines() if "HTTP" not in line]
    assert said == ["begun", "code 130", "own handler", "saved"], server.stderr
    assert "Traceback" not in server.stderr
