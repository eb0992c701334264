"""Serving inside a program: its loop, its thread, or its own process; its signals and its loggers stay its own."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

import corehttp
from corehttp import ConfigError, ExitCode, StartupError
from corehttp.asgi import Receive, Scope, Send
from tests.kit.server_process import ServerProcess

WAIT = 15.0  # seconds, for what takes much less


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "http"
    if scope["path"] == "/wait":
        await asyncio.sleep(1000)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


class WithLifespan:
    """Notes what its lifespan sees."""

    def __init__(self, *, fails: bool = False) -> None:
        self.events: list[str] = []
        self._fails = fails

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        self.events.append((await receive())["type"])
        if self._fails:
            await send({"type": "lifespan.startup.failed", "message": "no database"})
            return
        await send({"type": "lifespan.startup.complete"})
        self.events.append((await receive())["type"])
        await send({"type": "lifespan.shutdown.complete"})


async def get(url: str) -> str:
    async with httpx.AsyncClient() as client:
        return (await client.get(url)).text


async def test_it_serves_while_the_context_is_open() -> None:
    async with corehttp.serve(app, port=0) as server:
        assert server.port is not None
        assert server.port > 0
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert await get(server.url) == "hello"
        port = server.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), WAIT)


async def test_a_unix_socket_has_no_port_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with corehttp.serve(app, uds=str(path)) as server:
        assert (server.url, server.port) == (f"unix:{path}", None)
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path))) as client:
            assert (await client.get("http://local/")).text == "hello"
    assert not path.exists()


async def test_the_lifespan_spans_the_context() -> None:
    application = WithLifespan()
    async with corehttp.serve(application, port=0):
        assert application.events == ["lifespan.startup"]
    assert application.events == ["lifespan.startup", "lifespan.shutdown"]


async def test_stop_may_be_called_early_and_often() -> None:
    application = WithLifespan()
    async with corehttp.serve(application, port=0) as server:
        assert set(await asyncio.gather(server.stop(), server.stop())) == {ExitCode.CLEAN}
        assert await server.stop() is ExitCode.CLEAN
    assert application.events == ["lifespan.startup", "lifespan.shutdown"]


async def test_stop_answers_drain_when_a_request_had_to_be_cut(error_log: list[logging.LogRecord]) -> None:
    async with corehttp.serve(app, port=0, timeout_graceful_shutdown=0.1) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /wait HTTP/1.1\r\nhost: local\r\n\r\n")
        while not server._worker._context.running:
            await asyncio.sleep(0)
        assert await server.stop() is ExitCode.DRAIN
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        writer.close()
        await writer.wait_closed()
    assert error_log[0].getMessage().startswith("cut at the end of the graceful time: GET /wait after ")


async def test_what_the_caller_raises_goes_through_after_the_stop() -> None:
    application = WithLifespan()
    with pytest.raises(LookupError):
        async with corehttp.serve(application, port=0):
            raise LookupError
    assert application.events == ["lifespan.startup", "lifespan.shutdown"]


async def test_two_servers_live_in_one_loop() -> None:
    async with corehttp.serve(app, port=0) as one, corehttp.serve(app, port=0) as two:
        assert one.port != two.port
        assert [await get(one.url), await get(two.url)] == ["hello", "hello"]


async def test_a_port_can_be_served_again_at_once() -> None:
    async with corehttp.serve(app, port=0) as server:
        async with httpx.AsyncClient() as client:  # the server ends this connection first
            await client.get(server.url, headers={"connection": "close"})
        port = server.port
    async with corehttp.serve(app, port=port) as server:
        assert await get(server.url) == "hello"


async def test_an_inherited_socket_is_the_callers_to_close() -> None:
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        for _ in range(2):
            async with corehttp.serve(app, fd=inherited.dup().detach()) as server:
                assert await get(server.url) == "hello"
        with socket.create_connection(inherited.getsockname(), WAIT):
            pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": -1}, "port: -1 is not valid"),
        ({"workers": 2}, "workers 2 need a supervisor: use one worker, or have the command"),
        ({"preload": True}, "preload needs a supervisor: leave it out"),
        ({"workers": "auto"}, "workers auto need a supervisor"),
    ],
)
async def test_a_wrong_option_is_a_config_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        async with corehttp.serve(app, **options):
            pass


async def test_an_application_that_cannot_be_loaded_is_a_startup_error() -> None:
    with pytest.raises(StartupError, match="no module 'surely_missing'"):
        async with corehttp.serve("surely_missing:app", port=0):
            pass


async def test_a_busy_port_is_a_startup_error() -> None:
    async with corehttp.serve(app, port=0) as server:
        with pytest.raises(StartupError, match="is in use"):
            async with corehttp.serve(app, port=server.port):
                pass
        assert await get(server.url) == "hello"


async def test_a_worker_that_cannot_be_made_leaves_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "corehttp.protocols.http1.parser_httptools", None)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        address = sock.getsockname()
    with pytest.raises(StartupError, match="httptools is not installed"):
        async with corehttp.serve(app, port=address[1], http="httptools"):
            pass
    socket.create_server(address).close()


async def test_a_startup_that_fails_is_a_startup_error_and_leaves_no_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    application = WithLifespan(fails=True)
    with pytest.raises(StartupError) as caught:
        async with corehttp.serve(application, uds=str(path)):
            pass
    assert caught.value.detail == "no database"
    assert application.events == ["lifespan.startup"]
    assert not path.exists()


async def test_signals_loggers_and_policy_are_not_touched(capfd: pytest.CaptureFixture[str]) -> None:
    def snapshot() -> tuple[object, ...]:
        loggers = [logging.getLogger(name) for name in ("", "corehttp", "asyncio")]
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        return (
            [signal.getsignal(number) for number in numbers],
            [(list(logger.handlers), logger.level, logger.propagate) for logger in loggers],
            list(sys.path),
        )

    before = snapshot()
    async with corehttp.serve(app, port=0) as server:
        assert snapshot() == before
        await get(server.url)
    assert snapshot() == before
    assert capfd.readouterr() == ("", "")


async def test_the_access_log_is_there_if_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    async with corehttp.serve(app, port=0, access_log=True) as server:
        await get(server.url)
    assert '"GET / HTTP/1.1" 200 5' in capfd.readouterr().out


def has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


async def until_there(path: Path) -> None:
    """Wait until a file is there and has something in it."""
    async with asyncio.timeout(WAIT):
        while not has_content(path):
            await asyncio.sleep(0.01)


async def test_the_access_log_goes_to_a_file_which_may_be_renamed(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with corehttp.serve(app, port=0, access_log_file=path) as server:
        await get(f"{server.url}/one")
        await until_there(path)
        path.rename(tmp_path / "access.log.1")
        await get(f"{server.url}/two")
    assert '"GET /one ' in (tmp_path / "access.log.1").read_text()
    assert '"GET /two ' in path.read_text()


async def test_an_access_log_that_is_too_large_is_rotated(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    async with corehttp.serve(app, port=0, access_log_file=str(path), log_max_size=10) as server:
        await get(f"{server.url}/one")
        await until_there(tmp_path / "access.log.1")
    assert '"GET /one ' in (tmp_path / "access.log.1").read_text()
    assert path.read_text() == ""


@pytest.mark.parametrize("option", [{"user": "nobody"}, {"umask": "027"}, {"chdir": "/"}])
async def test_the_process_of_a_program_is_left_as_it_is(option: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=rf"^{min(option)}: serve\(\) is a part of the program, whose process only"):
        async with corehttp.serve(app, port=0, **option):
            pass


async def test_log_files_that_cannot_be_had_are_config_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"access-log-file .* cannot be opened: there is no directory"):
        async with corehttp.serve(app, port=0, access_log_file=tmp_path / "no" / "access.log"):
            pass
    with pytest.raises(ConfigError, match=r"log_file: serve\(\) leaves logging to the program"):
        async with corehttp.serve(app, port=0, log_file=tmp_path / "error.log"):
            pass


@pytest.mark.parametrize(
    ("variable", "options", "seen"),
    [
        (None, {}, "203.0.113.7"),
        ("10.0.0.0/8", {}, "127.0.0.1"),
        ("10.0.0.0/8", {"forwarded_allow_ips": "127.0.0.1"}, "203.0.113.7"),
    ],
)
async def test_the_environment_says_whom_to_trust_where_the_program_does_not(
    variable: str | None, options: dict[str, Any], seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    if variable is not None:
        monkeypatch.setenv("FORWARDED_ALLOW_IPS", variable)
    clients: list[str] = []

    async def looking(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            clients.append(scope["client"][0])
        await app(scope, receive, send)

    async with corehttp.serve(looking, port=0, lifespan="off", **options) as server, httpx.AsyncClient() as client:
        await client.get(server.url, headers={"x-forwarded-for": "203.0.113.7"})
    assert clients == [seen]


def test_in_a_thread_it_serves_callers_that_block() -> None:
    before = threading.active_count()
    with corehttp.run_in_thread(app, port=0) as server:
        assert httpx.get(server.url).text == "hello"
    assert threading.active_count() == before


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_in_a_thread_the_loop_is_as_asked(loop: str) -> None:
    seen: list[str] = []

    async def looking(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            seen.append(type(asyncio.get_running_loop()).__module__.partition(".")[0])
            await app(scope, receive, send)

    with corehttp.run_in_thread(looking, port=0, loop=loop) as server:
        httpx.get(server.url)
    assert seen == [loop]


def test_in_a_thread_errors_reach_the_caller() -> None:
    with pytest.raises(ConfigError), corehttp.run_in_thread(app, port="x"):
        pass
    with pytest.raises(StartupError), corehttp.run_in_thread("surely_missing:app", port=0):
        pass
    with pytest.raises(LookupError), corehttp.run_in_thread(app, port=0):
        raise LookupError


def test_run_refuses_several_workers_for_an_object() -> None:
    with pytest.raises(ConfigError, match="serve an import string, such as 'main:app'"):
        corehttp.run(app, workers=2)


def test_run_refuses_preload_where_a_fork_cannot_be_the_supervisors_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ConfigError, match="preload needs Linux"):
        corehttp.run("surely_missing:app", preload=True, port=0)


OBJECT = "corehttp.run(app, port=0)"
STRING = "corehttp.run('program:app', port=0, workers=2)"
PROGRAM = """
import corehttp

async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"hello"})

if __name__ == "__main__":
    %s
    print("after")
"""


class Run(Protocol):
    """Starts a program in a process of its own, with these variables in its environment."""

    def __call__(self, text: str, **variables: str) -> ServerProcess: ...


@pytest.fixture
def run_program(tmp_path: Path) -> Iterator[Run]:
    with contextlib.ExitStack() as stack:

        def run(text: str, **variables: str) -> ServerProcess:
            (tmp_path / "program.py").write_text(text)
            server = ServerProcess((), tmp_path, program=("program.py",), env=variables)
            stack.callback(server.end)
            return server

        yield run


@pytest.mark.e2e
@pytest.mark.parametrize("call", [OBJECT, STRING])
def test_run_serves_until_it_is_told_to_stop(run_program: Run, call: str) -> None:
    server = run_program(PROGRAM % call)
    server.wait_until_ready()
    assert httpx.get(server.url).text == "hello"
    assert server.stop() == 0
    assert server.stdout.endswith("after\n")
    server.check_nothing_is_left()


@pytest.mark.e2e
@pytest.mark.parametrize("call", [OBJECT, STRING])
def test_run_trusts_the_proxies_that_the_environment_names(run_program: Run, call: str) -> None:
    server = run_program(PROGRAM % call, FORWARDED_ALLOW_IPS="10.0.0.0/8")
    server.wait_until_ready()
    httpx.get(server.url, headers={"x-forwarded-for": "203.0.113.7"})
    server.wait_for_log(r"127\.0\.0\.1:\d+ is no trusted proxy, .* add 127\.0\.0\.1 to --forwarded-allow-ips")
    assert server.stop() == 0


@pytest.mark.e2e
def test_run_in_a_module_that_its_workers_import_is_refused_with_a_hint(run_program: Run) -> None:
    server = run_program(PROGRAM.replace('if __name__ == "__main__":', "if True:") % STRING)
    assert server.wait() == 3
    assert "corehttp.run() was called by a worker: put it under `if __name__ == '__main__':`" in server.stderr
    server.check_nothing_is_left()
