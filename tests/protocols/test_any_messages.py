"""Whatever an application sends: its client understands what was taken, and never takes a part for the whole."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.errors import AppError
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from tests.kit.fakes import Client, make_context
from tests.kit.replies import read_replies
from tests.kit.speaking import FILE_CONTENT, OURS, H11Client, Speaking, Understood, messages
from tests.protocols.test_properties import profile

SECOND = b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n"


class Asking(NamedTuple):
    """A request, and what it says of its connection."""

    raw: bytes
    method: str = "GET"
    version: str = "1.1"
    persistent: bool = True
    body: bool = False


ASKING = [
    Asking(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Asking(b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n"),
    Asking(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", persistent=False),
    Asking(b"HEAD / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n", "HEAD"),
    Asking(b"GET / HTTP/1.0\r\n\r\n", version="1.0", persistent=False),
    Asking(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nTE: trailers\r\n\r\n", version="1.0"),
    Asking(b"HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "HEAD", "1.0"),
    Asking(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "POST", body=True),
    Asking(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "POST", body=True),
]


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(FILE_CONTENT)
        file.flush()
        yield Path(file.name)


@profile
@given(st.data())
async def test_a_client_understands_what_was_taken_and_never_takes_a_part_for_the_whole(
    path: Path, data: st.DataObject
) -> None:
    with path.open("rb") as file:
        said = data.draw(messages(file, str(path)))
        app = Speaking(said, stubborn=data.draw(st.booleans()), reads=data.draw(st.booleans()))
        asking = data.draw(st.sampled_from(ASKING))
        context = make_context(app, HttptoolsParser)
        context.early_hints = data.draw(st.booleans())
        client = Client(context)
        client.transport.full = data.draw(st.booleans())
        client.transport.deliver(asking.raw + SECOND)
        await answered(client)
        check(app, asking, client, early_hints=context.early_hints)
        client.transport.lose()
        await client.wait()
        assert not context.running


async def answered(client: Client) -> None:
    """Wait until nothing runs any more; the client takes what it is sent."""
    connection = client.connection
    async with asyncio.timeout(10):
        while client.connection._context.running or connection.congested:
            if connection.congested:
                connection.resume_writing()
            await asyncio.sleep(0)
    await client.wait()


def check(app: Speaking, asking: Asking, client: Client, *, early_hints: bool) -> None:
    assert all(isinstance(error, AppError | OSError) for error in app.errors), app.errors
    read_replies(client.received, [asking.method])  # a second opinion, stricter with fields
    reader = H11Client(client.received, client.closed)
    seen = reader.read(asking.method, close=not asking.persistent)
    assert seen.hints == (app.hints if early_hints and asking.version == "1.1" else 0)
    if app.complete:
        check_whole(app, asking, seen)
    elif app.of_type("body", "pathsend", "zerocopysend") or not is_failure(seen, asking):
        check_cut(app, asking, seen, client)
    if client.closed:
        assert reader.rest == b""
        return
    assert asking.persistent
    reader.next()
    second = reader.read("GET", close=False)
    assert second.whole
    assert (second.status, second.body) == (200, b"second")


def is_failure(seen: Understood, asking: Asking) -> bool:
    """Whether it is the answer in the place of an application that has failed before its response."""
    return seen.whole and (seen.status, seen.body) == (
        500,
        b"" if asking.method == "HEAD" else b"Internal Server Error",
    )


def check_whole(app: Speaking, asking: Asking, seen: Understood) -> None:
    (start,) = app.of_type("start")
    assert seen.whole
    assert seen.status == start["status"]
    bodiless = asking.method == "HEAD" or seen.status in (204, 304)
    assert seen.body == (b"" if bodiless else app.body)
    theirs = [
        (name.lower(), value.strip(b" \t")) for name, value in start.get("headers", ()) if name.lower() not in OURS
    ]
    assert [field for field in seen.fields if field[0] not in OURS] == theirs
    if seen.trailers:
        assert b"TE:" in asking.raw
        assert seen.trailers == app.trailers


def check_cut(app: Speaking, asking: Asking, seen: Understood, client: Client) -> None:
    """The client got a part of a response: it must see that there was more, unless nothing tells."""
    assert client.closed
    bodiless = asking.method == "HEAD" or seen.status in (204, 304)
    until_close = not {b"content-length", b"transfer-encoding"} & dict(seen.fields).keys()
    length = int(dict(seen.fields).get(b"content-length", b"-1"))
    if bodiless or length == len(seen.body):
        return
    if until_close:
        assert "abort" in client.transport.calls
    else:
        assert not seen.whole
    # The last message may have raised in the middle of its file.
    assert seen.body.startswith(app.body) or app.body.startswith(seen.body)
