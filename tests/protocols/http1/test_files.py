"""A file as a piece of a response's body: what goes out, and that nothing takes the place of what does not."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from corehttp.asgi import Message, Receive, Scope, Send
from corehttp.errors import AppError, ClientDisconnectedError
from corehttp.protocols.disk import PIECE
from tests.kit.apps import FAILED
from tests.kit.fakes import LINES, Client, MakeParser, make_context

CONTENT = b"0123456789" * (PIECE // 5)  # more than goes out at once
REQUESTS = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\n" + LINES + b"transfer-encoding: chunked\r\n\r\n"
LAST = b"HTTP/1.1 200 OK\r\n" + LINES + b"content-length: 3\r\n\r\nend"
START: Message = {"type": "http.response.start", "status": 200}
END: Message = {"type": "http.response.body", "body": b"end"}
TOO_LATE = "a file is being sent: wait for that send\\(\\) before the next message"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


def part(file: object, offset: int, count: int, *, more: bool = True) -> Message:
    return {"type": "http.response.zerocopysend", "file": file, "offset": offset, "count": count, "more_body": more}


async def talk(parser: MakeParser, path: Path, speak: Callable[[Send, object], Awaitable[None]]) -> Client:
    """Two requests, of which `speak` answers the first one with the open file; returns when all is answered."""
    done = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/second":
            await send(START)
            await send(END)
            return
        try:
            with path.open("rb") as file:
                await speak(send, file)
        finally:
            done.set()

    client = Client(make_context(app, parser))
    await client.send(REQUESTS)
    async with asyncio.timeout(10):
        await done.wait()
    await client.wait()
    return client


async def test_a_file_is_a_piece_between_others(parser: MakeParser, path: Path) -> None:
    async def speak(send: Send, file: object) -> None:
        await send(START)
        await send(part(file, 5, 5))
        await send(END)

    client = await talk(parser, path, speak)
    assert client.received == CHUNKED + b"5\r\n56789\r\n3\r\nend\r\n0\r\n\r\n" + LAST
    assert not client.closed


async def test_nothing_takes_the_place_of_what_a_file_is_short_of(parser: MakeParser, path: Path) -> None:
    async def speak(send: Send, file: object) -> None:
        await send(START)
        with pytest.raises(AppError, match="the file ended 2 bytes before"):
            await send(part(file, len(CONTENT) - 3, 5))
        with pytest.raises(ClientDisconnectedError):
            await send(END)

    client = await talk(parser, path, speak)
    assert client.received == CHUNKED + b"5\r\n" + CONTENT[-3:]
    assert client.transport.calls == ["close"]


async def test_nothing_takes_the_place_of_what_a_cancelled_send_has_not_sent(parser: MakeParser, path: Path) -> None:
    async def speak(send: Send, file: object) -> None:
        await send(START)
        sending = asyncio.ensure_future(send(part(file, 0, len(CONTENT))))
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        with pytest.raises(ClientDisconnectedError):
            await send(END)

    client = await talk(parser, path, speak)
    begin = CHUNKED + b"%x\r\n" % len(CONTENT)
    assert client.received.startswith(begin)
    assert CONTENT.startswith(client.received.removeprefix(begin))
    assert client.transport.calls == ["close"]


@pytest.mark.parametrize("kind", ["body", "zerocopysend"])
async def test_nothing_comes_into_the_middle_of_a_file(parser: MakeParser, path: Path, kind: str) -> None:
    async def speak(send: Send, file: object) -> None:
        await send(START)
        sending = asyncio.ensure_future(send(part(file, 0, len(CONTENT))))
        await asyncio.sleep(0)
        with pytest.raises(AppError, match=TOO_LATE):
            await send(END if kind == "body" else part(file, 0, 1))
        await sending
        await send(END)

    client = await talk(parser, path, speak)
    chunk = b"%x\r\n%b\r\n" % (len(CONTENT), CONTENT)
    assert client.received == CHUNKED + chunk + b"3\r\nend\r\n0\r\n\r\n" + LAST
    assert not client.closed


@pytest.mark.parametrize(("offset", "count"), [(2**63, 1), (1, 2**63 - 1), (-1, 1), (0, -1), (0.5, 1), (0, "1")])
async def test_a_part_that_no_file_can_have_is_refused(parser: MakeParser, path: Path, offset: int, count: int) -> None:
    async def speak(send: Send, file: object) -> None:
        await send(START)
        with pytest.raises(AppError, match="must be numbers from 0 to 2\\*\\*63 - 1"):
            await send(part(file, offset, count))
        await send(END)

    client = await talk(parser, path, speak)
    assert client.received == LAST * 2


@pytest.mark.parametrize(("declared", "text"), [(1, "longer than its Content-Length, by"), (2**40, "shorter than its")])
@pytest.mark.parametrize("kind", ["pathsend", "zerocopysend"])
async def test_a_file_of_another_size_than_the_head_says_is_answered_with_500(
    parser: MakeParser, path: Path, kind: str, declared: int, text: str
) -> None:
    size = len(CONTENT)

    async def speak(send: Send, file: object) -> None:
        await send({**START, "headers": [(b"Content-Length", b"%d" % declared)]})
        message = {"type": "http.response.pathsend", "path": str(path)}
        with pytest.raises(AppError, match=text):
            await send(message if kind == "pathsend" else part(file, 0, size, more=False))

    client = await talk(parser, path, speak)
    assert client.received == FAILED + LAST
    assert not client.closed


async def test_a_first_part_that_is_longer_than_the_head_says_is_answered_with_500(
    parser: MakeParser, path: Path
) -> None:
    async def speak(send: Send, file: object) -> None:
        await send({**START, "headers": [(b"content-length", b"4")]})
        with pytest.raises(AppError, match="longer than its Content-Length, by 1 bytes"):
            await send(part(file, 0, 5))
        await send(part(file, 0, 4, more=False))  # as nothing was sent, another one may be

    client = await talk(parser, path, speak)
    assert client.received == b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n" + LINES + b"\r\n0123" + LAST


async def test_a_response_without_a_body_cannot_be_a_file(parser: MakeParser, path: Path) -> None:
    async def speak(send: Send, file: object) -> None:
        await send({**START, "status": 204})
        with pytest.raises(AppError, match="a response with status 204 has no body"):
            await send({"type": "http.response.pathsend", "path": str(path)})

    client = await talk(parser, path, speak)
    assert client.received == FAILED + LAST
    assert not client.closed


async def test_the_head_that_is_asked_for_alone_may_declare_another_length_than_the_file_has(
    parser: MakeParser, path: Path
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"content-length", b"1")]})
        await send({"type": "http.response.pathsend", "path": str(path)})

    client = Client(make_context(app, parser))
    await client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.received == b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n" + LINES + b"\r\n"
    assert not client.closed
