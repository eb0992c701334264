"""What a connection over TLS costs: no frame more per request than in cleartext, no garbage, and bounded memory."""

import asyncio
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
import uvloop

from corehttp import serve
from tests.tls.test_serving import LIMIT, ask, client, connected, pair, run, tell_scope
from tests.tls.test_serving import Run as Run

__all__ = ["pair", "run"]  # fixtures

MANY = 50  # requests


@contextmanager
def frames_of_ours() -> Iterator[list[int]]:
    """Counts the calls of functions of `corehttp.protocols` meanwhile."""
    count = [0]

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and "/corehttp/protocols/" in frame.f_code.co_filename:
            count[0] += 1

    sys.setprofile(note)
    try:
        yield count
    finally:
        sys.setprofile(None)


async def frames_per_request(options: dict[str, Any]) -> float:
    context = client() if options else None
    async with serve(tell_scope, port=0, **options) as server, connected(server, context) as (reader, writer):
        for _ in range(5):
            await ask(reader, writer)
        with frames_of_ours() as count:
            for _ in range(MANY):
                await ask(reader, writer)
        return count[0] / MANY


def test_a_request_over_tls_takes_no_more_calls_of_ours_than_in_cleartext(pair: dict[str, Any]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(frames_per_request(pair)) <= runner.run(frames_per_request({})) + 0.2


def test_connections_over_tls_leave_nothing_for_the_garbage_collector(run: Run, pair: dict[str, Any]) -> None:
    async def main() -> None:
        async with serve(tell_scope, port=0, **pair) as server:
            gc.collect()  # what other tests have left
            async with connected(server, client()) as (reader, writer):
                await ask(reader, writer)
                assert {"HTTP1Connection", "TlsSession"} <= of_connections()
            async with connected(server, client()) as (reader, writer):
                await ask(reader, writer, fields="connection: close\r\n")
            del reader, writer
            async with asyncio.timeout(LIMIT):
                while of_connections():
                    await asyncio.sleep(0.01)

    gc.disable()
    try:
        run(main())
    finally:
        gc.enable()


def of_connections() -> set[str]:
    """The types of the objects that are there for connections: none once all have ended, if they hold no cycle."""
    types = {type(found) for found in gc.get_objects()}
    ours = {found.__name__ for found in types if str(found.__module__).startswith("corehttp.protocols")}
    return {name for name in ours if "Connection" in name or name in ("TlsOpening", "TlsSession")}


async def send_for_ever(scope: Any, receive: Any, send: Any) -> None:
    """Sends as much as the client takes, and remembers how much that was."""
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        sent.append(65536)
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})


sent: list[int] = []


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_client_that_reads_nothing_holds_the_application_up(pair: dict[str, Any], loop: str) -> None:
    async def main() -> None:
        async with (
            serve(send_for_ever, port=0, timeout_graceful_shutdown=0.1, **pair) as server,
            connected(server, client()) as (_, writer),
        ):
            writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            transport: Any = writer.transport
            transport.pause_reading()
            before = -1
            while before < len(sent):  # until nothing more is taken
                before = len(sent)
                await asyncio.sleep(0.3)
            assert sum(sent) < 32 * 2**20  # the kernel takes some megabytes over the loopback
            transport.abort()

    sent.clear()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        runner.run(main())
