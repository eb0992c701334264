"""WSGI applications: their threads, and clients that leave in the middle. What frameworks do is in test_frameworks."""

import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Start
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import PATIENCE, until

pytestmark = pytest.mark.e2e

APP = ("tests.e2e.wsgi_application:app", "--port", "0")


@pytest.mark.feature
def test_requests_run_in_as_many_threads_as_are_asked_for(start: Start) -> None:
    server = start(*APP, "--threads", "4")
    with ThreadPoolExecutor(4) as clients:
        answers = clients.map(lambda _: httpx.get(f"{server.url}/together", timeout=PATIENCE).text, range(4))
        assert list(answers) == ["met"] * 4
    assert server.stop() == 0
    assert server.stderr.count("met\n") == 4


@pytest.mark.feature
def test_a_client_that_leaves_frees_its_thread(start: Start) -> None:
    server = start(*APP, "--threads", "1")
    for _ in range(3):
        with RawConnection(server.port) as client:
            client.ask("/endless")
            client.read(1_000_000)
        with RawConnection(server.port) as client:
            client.send("POST /upload HTTP/1.1", "Host: a", "Content-Length: 100", "", "half")

    # The only thread is free again, and half a body was not taken for a whole one.
    def told() -> list[str]:
        return sorted(httpx.get(f"{server.url}/ended", timeout=PATIENCE).text.split(", "))

    until(lambda: len(told()) == 6, "the end of all requests")
    assert told() == ["endless"] * 3 + ["upload: the client has disconnected"] * 3
    assert server.stop() == 0
    assert " ERROR " not in server.stderr


def test_what_is_in_flight_is_answered_at_a_stop(start: Start) -> None:
    server = start(*APP, "--workers", "2")
    with ThreadPoolExecutor(1) as clients:
        answer = clients.submit(lambda: httpx.get(f"{server.url}/late", timeout=PATIENCE))
        server.wait_for_log("late begins")
        server.signal(signal.SIGTERM)
        assert answer.result().text == "late"
    assert server.wait() == 0


def test_without_the_package_it_says_what_to_install(start: Start, tmp_path: Path) -> None:
    (tmp_path / "a2wsgi.py").write_text("raise ModuleNotFoundError(\"No module named 'a2wsgi'\")\n")
    (tmp_path / "main.py").write_text("def app(environ, start_response): ...\n")
    server = start("main:app", "--port", "0", ready=False)
    assert server.wait() == 3
    assert "main:app is a WSGI application, which needs the package a2wsgi: pip install 'corehttp-server[wsgi]'" in (
        server.stderr
    )
