"""Clients that are slow, or ask for too much: each is cut or turned away in its time, and none costs much memory."""

import contextlib
import re
import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]
import pytest

from tests.e2e.conftest import Start
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import APP, ServerProcess, until

pytestmark = [pytest.mark.e2e, pytest.mark.feature]

SLOW_APP = ("slow_application:app", *APP[1:])
LIMIT = 1.0  # seconds that each time-out of the impatient server allows
LATE = 30.0  # seconds after which it must have acted: long for a busy machine, and half of what the defaults allow
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    limits = ("keep-alive", "request-header", "request-body", "write-stall")
    arguments = [text for name in limits for text in (f"--timeout-{name}", f"{LIMIT:g}")]
    server = ServerProcess((*SLOW_APP, *arguments), tmp_path_factory.mktemp("impatient"))
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.end()


class Drip(NamedTuple):
    """What a client sends at first; after that comes a byte every tenth of a second, or nothing."""

    text: str = ""
    byte: bytes = b"x"


GET = "GET / HTTP/1.1\r\nhost: a\r\n\r\n"
POST = "POST /listen?name={} HTTP/1.1\r\nhost: a\r\n{}\r\n\r\n"
HEADS = {
    "head: in its line": Drip("GET /"),
    "head: in a field": Drip("GET / HTTP/1.1\r\nhost: a\r\nx: "),
    "head: behind a request": Drip(GET + "GET / HTTP/1.1\r\nx: "),
}
BODIES = {
    "body: sized": Drip(POST.format("sized", "content-length: 1000")),
    "body: chunked": Drip(POST.format("chunked", "transfer-encoding: chunked") + "3e8\r\n"),
}
BEGUN = Drip(POST.format("begun&begin=1", "content-length: 1000"))
IDLE = {
    "idle: at first": Drip("", b""),
    "idle: behind a request": Drip(GET, b""),
    "idle: behind empty lines": Drip("\r\n\r\n", b""),
}


class Outcome(NamedTuple):
    """What became of a client."""

    seconds: float  # until the server ended the connection
    received: bytes
    log: list[str]  # the lines that name it


@pytest.fixture(scope="module")
def outcomes(impatient: ServerProcess) -> dict[str, Outcome]:
    """What becomes of all that drip, and of the idle ones; side by side, as all of it takes time."""
    drips = {**HEADS, **BODIES, "begun": BEGUN, **IDLE}
    with clients(impatient, len(drips)) as opened:
        for client, drip in zip(opened, drips.values(), strict=True):
            client.socket.sendall(drip.text.encode())
        seconds, received = drip_until_the_end(opened, [drip.byte for drip in drips.values()])
        return {
            name: Outcome(seconds[client], received[client], lines_about(impatient, client))
            for name, client in zip(drips, opened, strict=True)
        }


@pytest.mark.parametrize("name", HEADS)
def test_a_dripping_head_is_answered_with_408_in_time(outcomes: dict[str, Outcome], name: str) -> None:
    seconds, received, [line] = outcomes[name]
    assert LIMIT <= seconds < LATE
    statuses = re.findall(rb"HTTP/1.1 (\d+)", received)
    assert statuses == ([b"200", b"408"] if HEADS[name].text.startswith(GET) else [b"408"])
    assert "the head of a request came in too slowly (408)" in line


@pytest.mark.parametrize("name", BODIES)
def test_a_dripping_body_is_answered_with_408_in_time_and_the_application_is_told(
    impatient: ServerProcess, outcomes: dict[str, Outcome], name: str
) -> None:
    seconds, received, [line] = outcomes[name]
    assert LIMIT <= seconds < LATE
    assert received.startswith(b"HTTP/1.1 408 ")
    assert "a body came in too slowly (408)" in line
    impatient.wait_for_log(f"note: disconnected {name.removeprefix('body: ')} ")


def test_a_dripping_body_cuts_the_response_that_has_begun(
    impatient: ServerProcess, outcomes: dict[str, Outcome]
) -> None:
    seconds, received, [line] = outcomes["begun"]
    assert LIMIT <= seconds < LATE
    assert received.endswith(b"\r\n5\r\nbegun\r\n")
    assert "a body came in too slowly (408)" in line
    impatient.wait_for_log("note: disconnected begun ")


@pytest.mark.parametrize("name", IDLE)
def test_a_connection_without_a_request_is_closed_in_time(outcomes: dict[str, Outcome], name: str) -> None:
    seconds, received, log = outcomes[name]
    assert LIMIT <= seconds < LATE
    assert received.count(b"HTTP/1.1 200 ") == (IDLE[name].text == GET)
    assert not log


def test_readers_that_never_read_are_cut_in_time_and_cost_little_memory(impatient: ServerProcess) -> None:
    count = 50
    with clients(impatient, count, receive_buffer=4096) as readers, Memory(impatient) as memory:
        for reader in readers:
            reader.ask("/flood?pieces=1600")
        began = time.monotonic()
        for reader in readers:
            assert "it does not take what is sent to it" in line_about(impatient, reader)
            memory.look()
        assert LIMIT <= time.monotonic() - began < LATE
        # The transport keeps what the kernel does not take of a piece, and 16 KiB more.
        assert memory.growth < count * MEGABYTE / 8
        for reader in readers:
            with pytest.raises(ConnectionResetError):
                reader.rest()


def test_a_reader_that_is_slow_but_steady_is_not_cut(impatient: ServerProcess) -> None:
    with clients(impatient, 1, receive_buffer=16384) as [reader], Memory(impatient) as memory:
        reader.ask("/flood?pieces=1600")
        end = time.monotonic() + 2.5 * LIMIT
        while time.monotonic() < end:
            assert reader.socket.recv(8192)
            time.sleep(0.05)
            memory.look()
        assert memory.growth < MEGABYTE
        assert not lines_about(impatient, reader)


def test_an_upload_that_the_application_does_not_read_stops_and_takes_its_time(impatient: ServerProcess) -> None:
    size = 64 * MEGABYTE
    with clients(impatient, 1) as [client], Memory(impatient) as memory:
        client.send("POST /swallow?name=upload HTTP/1.1", "host: a", f"content-length: {size}", "")
        sent = fill(client, size, 2.5 * LIMIT)
        assert sent < size / 2
        memory.look()
        assert memory.growth < MEGABYTE
        open_gate(impatient, "upload")
        client.socket.sendall(bytes(size - sent))
        assert client.answer()[1] == b"%d" % size
        assert not lines_about(impatient, client)


def test_10000_pipelined_requests_wait_for_their_reader_and_are_answered_in_order(impatient: ServerProcess) -> None:
    count, times = 10_000, 400
    with clients(impatient, 1, receive_buffer=65536) as [client], Memory(impatient) as memory:
        texts = [f"{number:05}" for number in range(count)]
        requests = "".join(f"GET /repeat?text={text}&times={times} HTTP/1.1\r\nhost: a\r\n\r\n" for text in texts)
        sender = threading.Thread(target=client.socket.sendall, args=[requests.encode()])
        sender.start()
        until(lambda: impatient.stdout.count("GET /repeat?"), "the first answers")
        time.sleep(LIMIT / 2)
        memory.look()
        assert memory.growth < MEGABYTE
        assert all(client.answer()[1] == text.encode() * times for text in texts)
        sender.join()


def test_a_request_that_takes_too_long_is_cancelled_and_answered_with_504(start: Start) -> None:
    server = start(*SLOW_APP, "--timeout-request", f"{LIMIT:g}")
    with clients(server, 4) as [late, upload, begun, quick]:
        late.send(*(f"GET {path} HTTP/1.1\r\nhost: a\r\n" for path in ("/wait?name=late", "/wait?name=behind")))
        upload.send("POST /swallow?name=upload HTTP/1.1", "host: a", "content-length: 1000", "", "some")
        begun.ask("/drip?between=5&name=begun")
        for _ in range(2):
            quick.ask("/drip?before=0.7")
            quick.wait_for(b"\r\n0\r\n\r\n")
        for client in (late, upload):
            answer = client.rest()
            assert answer.startswith(b"HTTP/1.1 504 ")
            assert answer.count(b"HTTP/1.1") == 1
        assert not begun.rest().endswith(b"\r\n0\r\n\r\n")
        for client in (late, upload, begun):
            assert "took longer than 1 s (504)" in line_about(server, client)
    for name in ("late", "upload", "begun"):
        server.wait_for_log(f"note: cancelled {name} ")
    assert "behind" not in server.stderr
    until(lambda: re.search(r'"GET /wait\?name=late HTTP/1.1" 504 ', server.stdout), "the access log's line")


def test_requests_beyond_the_limit_wait_and_those_beyond_the_queue_are_turned_away(start: Start) -> None:
    limits = ("--limit-concurrency", "2", "--limit-queue", "2", "--limit-queue-timeout", "1.5")
    server = start(*SLOW_APP, *limits, "--limit-exempt", "/open", "--limit-exempt", "/health")
    with clients(server, 6) as [first, second, *others, last]:
        for client, name in ((first, "first"), (second, "second")):
            client.ask(f"/wait?name={name}")
            server.wait_for_log(f"note: waiting {name} ")
        for client in others:
            client.ask("/wait?name=queued")
        [turned_away], _, _ = select.select([client.socket for client in others], [], [], LATE)
        [busy] = [client for client in others if client.socket is turned_away]
        assert_busy(*busy.answer())
        assert last.get("/health")[1] == b"hello"
        others.remove(busy)
        open_gate(server, "first")
        assert first.answer()[1] == b"waited"
        server.wait_for_log("note: waiting queued ")
        [expired], _, _ = select.select([client.socket for client in others], [], [], LATE)
        for client in others:
            if client.socket is expired:
                assert_busy(*client.answer())
                open_gate(server, "queued")
        for client in others:
            if client.socket is not expired:
                assert client.answer()[1] == b"waited"
        # Whoever was turned away has not lost its connection.
        assert busy.get("/")[1] == b"hello"
    assert server.stderr.count("waiting queued") == 1
    assert "turned away 1 requests (503): 2 run and 2 wait already" in server.stderr
    until(
        lambda: len(re.findall(r'"GET /wait\?name=queued HTTP/1.1" 503 ', server.stdout)) == 2, "both in the access log"
    )


LIMITS = ("--limit-request-line", "200", "--limit-request-fields", "5", "--limit-request-head", "400")
TOO_MUCH = {
    "a line": (414, f"GET /{'a' * 200} HTTP/1.1\r\n"),
    "a line without an end": (414, f"GET /{'a' * 300}"),
    "fields": (431, "GET / HTTP/1.1\r\nhost: a\r\n" + "a: b\r\n" * 5 + "\r\n"),
    "bytes": (431, f"GET / HTTP/1.1\r\nhost: a\r\nx: {'a' * 400}\r\n\r\n"),
    "bytes without an end": (431, f"GET / HTTP/1.1\r\nhost: a\r\nx: {'a' * 400}"),
    "a body": (413, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1001\r\n\r\n"),
    "a body in chunks": (413, f"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{1001:x}\r\n"),
}


def test_a_request_that_is_too_large_is_refused_with_its_status_and_logged_once(start: Start) -> None:
    server = start(*SLOW_APP, *LIMITS, "--limit-request-body", "1000")
    for status, request in TOO_MUCH.values():
        with RawConnection(server.port) as client:
            client.socket.sendall(request.encode())
            assert client.rest().startswith(b"HTTP/1.1 %d " % status)
            assert f"({status})" in line_about(server, client)


class Memory:
    """How much a server's worker has grown since the beginning, at most, in bytes."""

    def __init__(self, server: ServerProcess) -> None:
        [pid] = server.worker_pids()
        self._process = psutil.Process(pid)
        self.growth = 0

    def __enter__(self) -> "Memory":
        self._before = self._process.memory_info().rss
        return self

    def __exit__(self, *details: object) -> None:
        pass

    def look(self) -> None:
        self.growth = max(self.growth, self._process.memory_info().rss - self._before)


@contextlib.contextmanager
def clients(server: ServerProcess, count: int, receive_buffer: int | None = None) -> Iterator[list[RawConnection]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(RawConnection(server.port, receive_buffer)) for _ in range(count)]


Seconds = dict[RawConnection, float]
Received = dict[RawConnection, bytes]


def drip_until_the_end(clients: Sequence[RawConnection], each: Sequence[bytes]) -> tuple[Seconds, Received]:
    """Send some bytes every tenth of a second until the server ends the connection: when it did, and what came."""
    began = time.monotonic()
    seconds: Seconds = {}
    received = dict.fromkeys(clients, b"")
    waiting = {client.socket: (client, drip) for client, drip in zip(clients, each, strict=True)}
    while waiting:
        assert time.monotonic() < began + 2 * LATE
        for ready in select.select(waiting, [], [], 0.1)[0]:
            client, _ = waiting[ready]
            try:
                data = ready.recv(65536)
            except ConnectionResetError:  # of a byte that came after the end
                data = b""
            received[client] += data
            if not data:
                seconds[client] = time.monotonic() - began
                del waiting[ready]
        for client, drip in waiting.values():
            client.socket.sendall(drip)
    return seconds, received


def open_gate(server: ServerProcess, name: str) -> None:
    with RawConnection(server.port) as client:
        assert client.get(f"/open?name={name}")[1] == b"opened"


def fill(client: RawConnection, size: int, seconds: float) -> int:
    """Send at most `size` bytes, until the kernel takes none for so many seconds; how many it took."""
    piece = bytes(65536)
    sent = 0
    while sent < size and select.select([], [client.socket], [], seconds)[1]:
        sent += client.socket.send(piece[: size - sent], socket.MSG_DONTWAIT)
    return sent


def assert_busy(head: bytes, body: bytes) -> None:
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: 2\r\n" in head + b"\r\n"
    assert body == b"the server is busy\n"


def lines_about(server: ServerProcess, client: RawConnection) -> list[str]:
    """The lines of the log that name the client."""
    return [line for line in server.stderr.splitlines() if re.search(rf"\b{client.port}\b", line)]


def line_about(server: ServerProcess, client: RawConnection) -> str:
    """The only line of the log that names the client."""
    [line] = until(lambda: lines_about(server, client), "a line in the log")
    return line
