"""Clients that leave, and clients that only end their side: over TCP and unix sockets, with both event loops."""

import contextlib
import http.client
import io
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import NamedTuple, cast

import h11
import pytest

from tests.e2e.conftest import Start
from tests.e2e.test_slow_clients import SLOW_APP
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import APP, ServerProcess, until

pytestmark = [pytest.mark.e2e, pytest.mark.feature]

LOOPS = ("uvloop", "asyncio")
SOCKETS = ("tcp", "unix")
SOON = 1.5  # seconds: at once, on a busy machine
NOTICED = 4.5  # seconds: a FIN is looked into after 1 to 2 s, and the answer looked at one later

LISTEN = {"before a response": "/listen?name={}", "in a stream": "/listen?name={}&begin=1"}
SIZED = "/listen?name={}&begin=1&length=100"  # no byte of the server's can be harmless here


class End(NamedTuple):
    """A client that ended its connection while the application waited for it."""

    loop: str
    socket: str
    way: str
    path: str

    @property
    def name(self) -> str:
        return "-".join(self).translate({ord(char): None for char in " /?&={}"})


ENDS = [
    *(End(*of) for of in product(LOOPS, SOCKETS, ["close"], LISTEN.values())),
    *(End(*of) for of in product(LOOPS, SOCKETS, ["reset"], LISTEN.values()) if of[1] == "tcp"),
    *(End(loop, "unix", "close", SIZED) for loop in LOOPS),
    *(End(loop, "tcp", "reset", SIZED) for loop in LOOPS),
]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], ServerProcess]]:
    """One for each event loop and kind of socket."""
    started: dict[tuple[str, str], ServerProcess] = {}
    try:
        for loop, kind in product(LOOPS, SOCKETS):
            directory = tmp_path_factory.mktemp("server")
            address = ("--uds", str(directory / "socket")) if kind == "unix" else ()
            started[loop, kind] = ServerProcess((*SLOW_APP, "--loop", loop, *address), directory)
        for server in started.values():
            server.wait_until_ready()
        yield started
    finally:
        for server in started.values():
            server.end()


@pytest.fixture(scope="module")
def noticed(servers: dict[tuple[str, str], ServerProcess]) -> dict[End, float]:
    """After how many seconds the application was told of each end; all at once, as it takes a while."""
    ended: dict[End, float] = {}
    with contextlib.ExitStack() as stack:
        clients = {end: stack.enter_context(connect(servers[end.loop, end.socket])) for end in ENDS}
        for end, client in clients.items():
            client.ask(end.path.format(end.name))
        for end, client in clients.items():
            servers[end.loop, end.socket].wait_for_log(f"note: listening {end.name} ")
            if "begin" in end.path:
                client.wait_for(b"begun")  # what is unread when a socket is closed makes it a reset
            ended[end] = time.monotonic()
            if end.way == "reset":
                client.reset()
            else:
                client.socket.close()
    told = {end: servers[end.loop, end.socket].wait_for_log(rf"note: disconnected {end.name} at (.*)") for end in ENDS}
    return {end: float(told[end].group(1)) - ended[end] for end in ENDS}


@pytest.mark.parametrize("end", ENDS, ids=[end.name for end in ENDS])
def test_an_application_that_waits_is_told_that_its_client_is_gone_and_cannot_send_any_more(
    servers: dict[tuple[str, str], ServerProcess], noticed: dict[End, float], end: End
) -> None:
    assert noticed[end] < (NOTICED if end.way == "close" and end.socket == "tcp" else SOON)
    server = servers[end.loop, end.socket]
    server.wait_for_log(f"note: cannot send {end.name} ")
    status = "200 5" if "begin" in end.path else "499 0"
    line = re.compile(rf'"GET /listen\?name={end.name}[^"]* HTTP/1.1" {status} ')
    until(lambda: line.search(server.stdout), "the access log's line")
    assert "ERROR" not in server.stderr


class Half(NamedTuple):
    """A client that shuts down its side, and reads on; the server looks whether it is there while it has to wait."""

    path: str
    version: str = "HTTP/1.1"
    probe: bytes = b""  # what shows in the answer that the server has done so, if anything does


HALVES = {
    "at once": Half("/drip"),
    "before a response": Half("/drip?before=2.5"),
    "in chunks": Half("/drip?between=2.5", probe=b"\r\n04\r\ntwo\n"),
    "at the end of chunks": Half("/repeat?text=one%0Atwo%0A&times=1"),
    "before a response with a length": Half("/drip?before=2.5&length=8"),
    "in a response with a length": Half("/drip?between=2.5&length=8"),
    "of HTTP/1.0": Half("/drip?before=1.2&between=1.2", "HTTP/1.0"),
}


@pytest.fixture(scope="module")
def answers(servers: dict[tuple[str, str], ServerProcess]) -> dict[tuple[str, str, str], bytes]:
    """All that each client which has ended only its side gets."""

    def answer(of: tuple[str, str, str]) -> bytes:
        loop, kind, name = of
        half = HALVES[name]
        with connect(servers[loop, kind]) as client:
            client.send(f"GET {half.path} {half.version}", "host: a", "")
            client.socket.shutdown(socket.SHUT_WR)
            return client.rest()

    cases = list(product(LOOPS, SOCKETS, HALVES))
    with ThreadPoolExecutor(len(cases)) as threads:
        return dict(zip(cases, threads.map(answer, cases), strict=True))


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("kind", SOCKETS)
@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_ends_only_its_side_gets_its_whole_answer(
    answers: dict[tuple[str, str, str], bytes], loop: str, kind: str, name: str
) -> None:
    answer = answers[loop, kind, name]
    assert HALVES[name].probe in answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert by_http_client(answer) == (200, b"one\ntwo\n")
    assert by_h11(answer) == (200, b"one\ntwo\n")


@pytest.mark.parametrize("loop", LOOPS)
def test_a_request_that_is_not_whole_ends_with_its_client(
    servers: dict[tuple[str, str], ServerProcess], loop: str
) -> None:
    for kind in SOCKETS:
        with connect(servers[loop, kind]) as client:
            client.send(f"POST /listen?name=part-{kind} HTTP/1.1", "host: a", "content-length: 10", "", "part")
            servers[loop, kind].wait_for_log(f"note: listening part-{kind} ")
            client.socket.shutdown(socket.SHUT_WR)
            assert client.rest() == b""
        servers[loop, kind].wait_for_log(f"note: disconnected part-{kind} ")


@pytest.mark.parametrize("option", ["--cancel-on-disconnect", "--no-cancel-on-disconnect"])
def test_a_lost_client_cancels_the_application_only_if_asked_to(start: Start, option: str) -> None:
    server = start(*SLOW_APP, option)
    with RawConnection(server.port) as waiting, RawConnection(server.port) as streaming:
        waiting.ask("/wait?name=waiting")
        server.wait_for_log("note: waiting waiting ")
        streaming.ask("/drip?between=1000&name=streaming")
        streaming.wait_for(b"one\n\r\n")
        waiting.reset()
    if option == "--cancel-on-disconnect":
        server.wait_for_log("note: cancelled waiting ")
        server.wait_for_log("note: cancelled streaming ")
    else:
        until(lambda: '"GET /wait?name=waiting HTTP/1.1" 499 ' in server.stdout, "the access log's line")
        assert "cancelled" not in server.stderr
    assert "ERROR" not in server.stderr


def test_in_starlette_a_stream_and_a_poll_end_with_their_client_and_a_background_task_lives_on(start: Start) -> None:
    server = start("starlette_application:app", *APP[1:])
    with contextlib.ExitStack() as stack:
        events, poll, later = (stack.enter_context(RawConnection(server.port)) for _ in range(3))
        events.ask("/events?every=0.1")
        events.wait_for(b"data: news")
        poll.ask("/poll")
        server.wait_for_log("note: polling ")
        later.ask("/later")
        assert later.answer()[1] == b"soon"
    server.wait_for_log("note: events ended ")
    server.wait_for_log("note: work done ")
    server.wait_for_log("note: polled ")
    assert "ERROR" not in server.stderr


def connect(server: ServerProcess) -> RawConnection:
    return RawConnection(server.uds if server.url.startswith("unix:") else server.port)


class Received(io.BytesIO):
    """What came, as http.client wants it."""

    def makefile(self, mode: str) -> "Received":
        return self


def by_http_client(answer: bytes) -> tuple[int, bytes]:
    response = http.client.HTTPResponse(cast(socket.socket, Received(answer)), method="GET")
    response.begin()
    return response.status, response.read()


def by_h11(answer: bytes) -> tuple[int, bytes]:
    """As a client sees it that takes nothing but what the RFCs allow."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    client.receive_data(b"")
    status, body = 0, b""
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            assert isinstance(event, h11.InformationalResponse)
    return status, body
