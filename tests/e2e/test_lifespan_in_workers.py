"""The application's start-up and shutdown, in each worker."""

from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Start
from tests.kit.server_process import APP

pytestmark = [pytest.mark.e2e, pytest.mark.feature]

STARTUP = 3
RAISES = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError("no lifespan here")
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b"served"})
"""
FAILS = """
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "the database is not there"})
"""
NEVER_ENDS = """
import asyncio
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await asyncio.sleep(1000)
"""


def test_startup_and_shutdown_run_in_each_worker(start: Start, tmp_path: Path) -> None:
    server = start(*APP, "--workers", "2")
    events = tmp_path / "events"
    assert sorted(events.read_text().splitlines()) == ["startup 1", "startup 2"]
    assert server.stop() == 0
    assert sorted(events.read_text().splitlines()) == ["shutdown 1", "shutdown 2", "startup 1", "startup 2"]


def test_off_leaves_the_lifespan_out(start: Start, tmp_path: Path) -> None:
    server = start(*APP, "--lifespan", "off", "--no-supervise")
    assert httpx.get(server.url).text == "hello"
    assert server.stop() == 0
    assert not (tmp_path / "events").exists()


def test_auto_serves_an_application_that_raises_and_says_so(start: Start, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(RAISES)
    server = start("main", "--port", "0")
    assert httpx.get(server.url).text == "served"
    assert "served without lifespan: the application raised RuntimeError('no lifespan here')" in server.stderr
    assert "Traceback" not in server.stderr


def test_on_does_not_start_an_application_that_raises(start: Start, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(RAISES)
    server = start("main", "--port", "0", "--workers", "2", "--lifespan", "on", ready=False)
    assert server.wait() == STARTUP
    assert server.stderr.count("RuntimeError: no lifespan here") == 1


@pytest.mark.parametrize("supervise", ["--supervise", "--no-supervise"])
def test_a_startup_that_fails_ends_the_server_with_its_reason(start: Start, tmp_path: Path, supervise: str) -> None:
    (tmp_path / "main.py").write_text(FAILS)
    server = start("main", "--port", "0", supervise, ready=False)
    assert server.wait() == STARTUP
    assert server.stderr.count("the database is not there") == 1
    assert "Traceback" not in server.stderr


def test_a_shutdown_that_never_ends_is_given_up(start: Start, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(NEVER_ENDS)
    server = start("main", "--port", "0", "--timeout-lifespan-shutdown", "0.2")
    assert server.stop() == 0
    assert "the application's shutdown took longer than 0.2 s" in server.stderr
