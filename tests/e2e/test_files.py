"""Files, early hints and trailers: what frameworks send as ASGI extensions, as clients see it."""

import hashlib
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import h11
import httpx
import pytest

from tests.e2e.conftest import Start
from tests.e2e.test_slow_clients import LATE, LIMIT, MEGABYTE, Memory, line_about, lines_about
from tests.kit.programs import curl, installed
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import APP, ServerProcess, until

pytestmark = pytest.mark.e2e

LARGE = 50 * MEGABYTE
HEAD = 1000  # bytes: more than any response's head here
SIZES = (0, 1, 65536, 65537, 300_000, LARGE)
STYLE, SCRIPT = "</style.css>; rel=preload; as=style", "</script.js>; rel=preload; as=script"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """A file of each size."""
    directory = tmp_path_factory.mktemp("files")
    some = os.urandom(MEGABYTE)
    for size in SIZES:
        (directory / str(size)).write_bytes((some * (size // MEGABYTE + 1))[:size])
    return {size: directory / str(size) for size in SIZES}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    options = ("--timeout-write-stall", f"{LIMIT:g}", "--pathsend", "--early-hints")
    arguments = ("extensions_application:app", *APP[1:], *options)
    server = ServerProcess(arguments, tmp_path_factory.mktemp("extensions"))
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.end()


@pytest.mark.feature
@pytest.mark.parametrize("size", SIZES)
def test_a_file_response_of_starlette_is_the_file(server: ServerProcess, files: dict[int, Path], size: int) -> None:
    with httpx.Client(base_url=server.url, params={"path": str(files[size])}) as client:
        response = client.get("/file")
        assert response.headers["content-length"] == str(size)
        assert digest(response.content) == digest(files[size].read_bytes())
        head = client.head("/file")
        assert head.headers["content-length"] == str(size)
        assert head.content == b""
    server.wait_for_log("note: http.response.pathsend ")


@pytest.mark.feature
def test_parts_of_a_file_are_what_was_asked_for(server: ServerProcess, files: dict[int, Path]) -> None:
    content = files[300_000].read_bytes()
    with httpx.Client(base_url=server.url, params={"path": str(files[300_000])}) as client:
        for range_, part in (
            ("bytes=0-0", content[:1]),
            ("bytes=100000-199999", content[100_000:200_000]),
            ("bytes=-5", content[-5:]),
        ):
            response = client.get("/file", headers={"range": range_})
            assert response.status_code == 206
            assert response.content == part
        assert client.get("/file", headers={"range": "bytes=300000-"}).status_code == 416


@pytest.mark.parametrize("size", SIZES)
def test_a_file_response_of_baize_is_the_file(server: ServerProcess, files: dict[int, Path], size: int) -> None:
    with httpx.Client(base_url=server.url, params={"path": str(files[size])}) as client:
        response = client.get("/baize")
        assert response.headers["content-length"] == str(size)
        assert digest(response.content) == digest(files[size].read_bytes())
        assert client.head("/baize").content == b""
        if size > 10:
            assert client.get("/baize", headers={"range": "bytes=5-9"}).content == files[size].read_bytes()[5:10]
    server.wait_for_log("note: http.response.zerocopysend ")


@pytest.mark.feature
def test_a_file_sent_in_pieces_of_a_stream_is_in_its_place(server: ServerProcess, files: dict[int, Path]) -> None:
    for size in (65536, 300_000):
        content = files[size].read_bytes()
        response = httpx.get(f"{server.url}/pieces", params={"path": str(files[size])})
        assert response.headers["transfer-encoding"] == "chunked"
        assert response.content == b"before\n" + content[1:] + content[2:5] + b"\nafter"


@pytest.mark.feature
def test_a_path_is_sent_with_its_length(server: ServerProcess, files: dict[int, Path]) -> None:
    response = httpx.get(f"{server.url}/path", params={"path": str(files[65537])})
    assert response.headers["content-length"] == "65537"
    assert response.content == files[65537].read_bytes()


@pytest.mark.feature
def test_requests_pipelined_behind_files_are_answered_in_order(server: ServerProcess, files: dict[int, Path]) -> None:
    sizes = [size for size in SIZES if size < LARGE] * 2
    with RawConnection(server.port) as client:
        for size in sizes:
            client.ask(f"/file?path={files[size]}")
            client.ask("/")
        for size in sizes:
            assert digest(client.answer()[1]) == digest(files[size].read_bytes())
            assert client.answer()[1] == b"hello"


def test_a_file_that_is_not_read_is_cut_and_one_that_is_read_slowly_is_not(
    server: ServerProcess, files: dict[int, Path]
) -> None:
    with RawConnection(server.port) as first:
        first.get(f"/file?path={files[min(files)]}")  # with it comes what is imported and made once
    with (
        RawConnection(server.port, 4096) as never,
        RawConnection(server.port, 16384) as slow,
        Memory(server) as memory,
    ):
        for client in (never, slow):
            client.ask(f"/file?path={files[LARGE]}")
        end = time.monotonic() + LATE
        while time.monotonic() < end and not lines_about(server, never):
            assert slow.socket.recv(8192)
            time.sleep(0.05)
            memory.look()
        assert "it does not take what is sent to it" in line_about(server, never)
        with pytest.raises(ConnectionResetError):
            never.rest()
        assert slow.socket.recv(8192)
        assert not lines_about(server, slow)
        assert memory.growth < MEGABYTE


def test_a_client_that_waits_for_a_slow_file_is_not_cut(server: ServerProcess, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    file = os.open(path, os.O_RDWR)  # both ends, so that neither we nor the application waits for the other
    try:
        with RawConnection(server.port) as client:
            client.ask(f"/pipe?path={path}&size=10")
            for piece in (b"first", b"later"):
                time.sleep(3 * LIMIT)
                os.write(file, piece)
            client.wait_for(b"later\r\n0\r\n\r\n")
            assert not lines_about(server, client)
    finally:
        os.close(file)


@pytest.mark.feature
@pytest.mark.parametrize("path", ["/file", "/baize"])
def test_a_client_that_leaves_in_the_middle_of_a_file_is_no_error(
    server: ServerProcess, files: dict[int, Path], path: str
) -> None:
    received = 0
    with RawConnection(server.port) as client:
        client.ask(f"{path}?path={files[LARGE]}&leaves")
        for _ in range(20):
            received += len(client.socket.recv(65536))
    sent = until(lambda: logged(server, path, files[LARGE]), "the access log's line")
    assert received - HEAD < sent < LARGE
    assert " ERROR " not in server.stderr


@pytest.mark.parametrize("path", ["/file", "/baize"])
def test_what_was_sent_of_a_file_to_a_client_that_left_is_counted_to_the_byte(
    start: Start, files: dict[int, Path], tmp_path: Path, path: str
) -> None:
    server = start("extensions_application:app", *APP[1:3], "--uds", str(tmp_path / "socket"), "--pathsend")
    with RawConnection(server.uds) as client:
        client.ask(f"{path}?path={files[LARGE]}&leaves")
        received = b""
        while len(received) < MEGABYTE:
            received += client.socket.recv(65536)
        client.socket.shutdown(socket.SHUT_RDWR)
        # What a unix socket has taken can be read nevertheless.
        body = (received + client.rest()).partition(b"\r\n\r\n")[2]
    sent = until(lambda: logged(server, path, files[LARGE]), "the access log's line")
    assert sent == len(body) < LARGE
    assert digest(body) == digest(files[LARGE].read_bytes()[: len(body)])
    assert server.stop() == 0
    assert " ERROR " not in server.stderr


def test_small_requests_are_answered_beside_many_downloads(start: Start, files: dict[int, Path]) -> None:
    count = 20
    server = start("extensions_application:app", *APP[1:])  # which cuts nobody whom a busy machine holds up
    download = ["--output", "/dev/null", f"{server.url}/file?path={files[LARGE]}"]
    command = [installed("curl"), "--silent", "--parallel", "--parallel-max", str(count)]
    command += ["--write-out", "%{size_download}\n"]
    worst, answered = 0.0, 0
    beginning = time.monotonic()
    with (
        subprocess.Popen([*command, *download * count], stdout=subprocess.PIPE) as curl,
        RawConnection(server.port) as small,
    ):
        while curl.poll() is None:
            began = time.monotonic()
            assert small.get("/")[1] == b"hello"
            worst = max(worst, time.monotonic() - began)
            answered += 1
            time.sleep(0.01)
        assert curl.stdout is not None
        assert curl.stdout.read().decode().split() == [str(LARGE)] * count
    assert answered > 3
    # None of them waits for the downloads to end, however long those take on a busy machine.
    assert worst < max(1.0, (time.monotonic() - beginning) / 4)


@pytest.mark.feature
@pytest.mark.parametrize("path", ["/links", "/hints"])
def test_early_hints_come_before_the_response(server: ServerProcess, path: str) -> None:
    url = f"{server.url}{path}"
    head, _, rest = curl("--include", url).partition("\r\n\r\n")
    assert head.split("\r\n") == ["HTTP/1.1 103 Early Hints", f"link: {STYLE}", f"link: {SCRIPT}"]
    assert rest.startswith("HTTP/1.1 200 OK\r\n")
    assert rest.endswith("\r\n\r\nhinted")
    assert httpx.get(url).text == "hinted"
    # A client of HTTP/1.0 knows nothing between its request and the response.
    assert curl("--include", "--http1.0", url).startswith("HTTP/1.1 200 OK\r\n")


@pytest.mark.feature
def test_trailers_come_behind_the_body(server: ServerProcess) -> None:
    head, _, rest = curl("--include", "--raw", "--header", "TE: trailers", f"{server.url}/trailers").partition(
        "\r\n\r\n"
    )
    assert "transfer-encoding: chunked" in head
    assert rest == "4\r\nbody\r\n0\r\nx-sum: 42\r\nx-more: yes\r\n\r\n"
    client = h11.Connection(h11.CLIENT)
    request = h11.Request(
        method="GET", target="/trailers", headers=[("host", "a"), ("te", "trailers"), ("connection", "close")]
    )
    with RawConnection(server.port) as connection:
        for event in (request, h11.EndOfMessage()):
            connection.socket.sendall(client.send(event) or b"")
        client.receive_data(connection.rest())
    events = [client.next_event() for _ in range(3)]
    assert isinstance(events[2], h11.EndOfMessage)
    assert list(events[2].headers) == [(b"x-sum", b"42"), (b"x-more", b"yes")]


def logged(server: ServerProcess, path: str, file: Path) -> int | None:
    """Bytes of a file that the access log counts for a client that left."""
    line = re.search(rf'"GET {path}\?path={re.escape(str(file))}&leaves HTTP/1.1" 200 (\d+) ', server.stdout)
    return None if line is None else int(line.group(1))


def digest(content: bytes) -> str:
    """So that a failure does not print megabytes."""
    return f"{len(content)}: {hashlib.sha256(content).hexdigest()}"
