"""Bytes that another process has read come before those that are still in the socket."""

import asyncio
import socket
from collections.abc import Callable

import pytest
import uvloop

from corehttp.worker.held_bytes import HeldBytes


class Reader(asyncio.Protocol):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.received = b""
        self.whole = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.received.endswith(b"."):
            self.whole.set_result(None)


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_held_bytes_come_first(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.sendall(b"in the socket.")
            reader = Reader()
            loop = asyncio.get_running_loop()
            transport, _ = await loop.connect_accepted_socket(lambda: HeldBytes(reader, b"held, "), ours)
            await asyncio.wait_for(reader.whole, 10)
            assert reader.received == b"held, in the socket."
            assert transport.get_protocol() is reader
            transport.close()

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(main())
