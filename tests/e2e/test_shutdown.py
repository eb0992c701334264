"""The phases of a stop: a delay for load balancers, a word to streams, an end for the rest."""

import contextlib
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.kit.raw_client import RawConnection, connections
from tests.kit.server_process import APP, ROOT, ServerProcess, refused, until

pytestmark = pytest.mark.e2e

STREAMS = ("tests.e2e.streaming_application:app", "--app-dir", str(ROOT), "--port", "0", "--no-access-log")


def asked(server: ServerProcess, stack: contextlib.ExitStack, path: str) -> RawConnection:
    connection = stack.enter_context(RawConnection(server.port))
    connection.ask(path)
    return connection


@pytest.mark.feature
def test_a_stop_ends_streams_and_polls_in_time_and_answers_every_ordinary_request(start: Start, tmp_path: Path) -> None:
    server = start(*STREAMS, "--workers", "2", "--shutdown-stream-grace", "0.5", "--timeout-graceful-shutdown", "10")
    with contextlib.ExitStack() as stack:
        events = asked(server, stack, "/events")
        farewell = asked(server, stack, "/events-with-farewell")
        numbers = asked(server, stack, "/numbers")
        polls = [asked(server, stack, "/poll") for _ in range(5)]
        told = asked(server, stack, "/told")
        watched = [asked(server, stack, "/watched?seconds=2") for _ in range(20)]
        slow = [asked(server, stack, "/slow?seconds=2") for _ in range(200)]
        for stream in (events, farewell, numbers):
            stream.wait_for(b"\r\n\r\n")
        server.signal(signal.SIGTERM)
        assert told.answer()[1] == b"told"
        assert events.rest().endswith(b"data: tick\n\n\r\n0\r\n\r\n"), "the stream of events was not ended whole"
        assert farewell.rest().endswith(b"data: tick\n\n\r\n0\r\n\r\n")
        assert b"the end\n" in numbers.rest()
        for poll in polls:
            head, body = poll.answer()
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: 1" in head
            assert body == b"the server is shutting down\n"
        assert [one.answer()[1] for one in watched] == [b"worked"] * 20
        assert [one.answer()[1] for one in slow] == [b"slept"] * 200
    assert server.wait() == 0
    assert (tmp_path / "events").read_text().count("shutdown") == 2
    assert "exception" not in server.stderr


def test_a_poll_that_hears_nothing_is_cut_at_the_end_and_the_lifespan_shutdown_still_runs(
    start: Start, tmp_path: Path
) -> None:
    server = start(*APP, "--timeout-graceful-shutdown", "1")
    with RawConnection(server.port) as client:
        client.ask("/slow?seconds=600")
        until(lambda: (tmp_path / "events").exists() and "sleeping" in (tmp_path / "events").read_text(), "the request")
        assert server.stop() == 5
        assert client.rest().startswith(b"HTTP/1.1 503 ")
    assert "cut at the end of the graceful time: GET /slow after" in server.stderr
    assert "shutdown 1" in (tmp_path / "events").read_text()


@pytest.mark.feature
def test_a_background_task_is_waited_for(start: Start, tmp_path: Path) -> None:
    server = start(*STREAMS)
    with RawConnection(server.port) as client:
        client.ask("/background?seconds=1")
        assert client.answer()[1] == b"answered"
        assert server.stop() == 0
    assert "background done" in (tmp_path / "events").read_text()


@pytest.mark.parametrize("supervised", [True, False], ids=["supervised", "alone"])
def test_nobody_who_has_left_is_waited_for(start: Start, tmp_path: Path, supervised: bool) -> None:
    server = start(*APP, "--timeout-graceful-shutdown", "60", *(() if supervised else ("--no-supervise",)))
    with connections(5, server.port) as polls, RawConnection(server.port) as upload:
        for poll in polls:
            poll.ask("/slow?seconds=600")
        upload.socket.sendall(b"POST /slow?seconds=600 HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
        upload.socket.settimeout(1)
        with pytest.raises(TimeoutError):  # the application reads nothing, so the server soon does not either
            upload.socket.sendall(bytes(100_000_000))
        until(lambda: (tmp_path / "events").read_text().count("sleeping") == 6, "the requests")
    began = time.monotonic()
    assert server.stop(40) == 0
    assert time.monotonic() - began < 30
    assert "cut at" not in server.stderr


@pytest.mark.feature
def test_with_a_delay_clients_are_served_on_but_not_kept(start: Start) -> None:
    server = start(*APP, "--workers", "2", "--shutdown-delay", "2")
    with RawConnection(server.port) as kept:
        kept.get("/")
        server.signal(signal.SIGTERM)
        server.wait_for_log("SIGTERM: serving on for 2 s, then finishing")
        # The line may be read before the worker is told; once it is, it answers one request more on each connection.
        until(lambda: b"\r\nconnection: close" in kept.get("/")[0], "a response that ends the connection")
    with RawConnection(server.port) as late:
        head, body = late.get("/")
    assert body == b"hello"
    assert b"\r\nconnection: close" in head
    until(lambda: refused(server.port), "the end of the delay")
    assert server.wait() == 0


def test_every_connection_made_during_a_stop_is_served_or_refused(start: Start) -> None:
    server = start(*APP, "--workers", "2", "--timeout-graceful-shutdown", "5")
    with connections(10, server.port) as slow:
        for client in slow:
            client.ask("/slow?seconds=0.9")
        server.signal(signal.SIGTERM)
        ends = set()
        while server.running:
            try:
                with RawConnection(server.port) as client:
                    ends.add(client.get("/")[1])
            except ConnectionRefusedError:
                ends.add(b"refused")
        assert ends <= {b"hello", b"refused"}
        assert b"refused" in ends
        assert [client.answer()[1] for client in slow] == [b"slept"] * 10
    assert server.wait() == 0
