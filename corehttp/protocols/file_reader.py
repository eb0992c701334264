"""Reads pieces of a file for a response without blocking the event loop, whatever carries them to the client."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from typing import TypeVar

from corehttp.errors import AppError, ClientDisconnectedError
from corehttp.protocols.contracts import ResponseStream
from corehttp.protocols.disk import PIECE, FileRead, Job, Sending, has_positions, read_now, settle
from corehttp.protocols.fairness import MESSAGE

PATIENCE = 1.0  # seconds that a transfer which ends early waits for its thread, which may be in a call of the kernel

_T = TypeVar("_T")


class FileReader:
    """Reads pieces of files for one response, one call at a time; knows nothing of sockets.

    A call can be cancelled at any moment, and the file closed right after. The owner of the response calls `disconnect`
    when the client has left. Then, and when a call is cancelled, a thread that only reads is not waited for.
    """

    __slots__ = ("_loop", "_waiter", "lost")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None  # what the call that waits awaits; None if there is none
        self.lost = False  # whether the client has left

    async def read(self, file: int, offset: int, count: int) -> bytes:
        """Return some of the `count` bytes of `file` from `offset` on, at most PIECE of them; none at the file's end.

        A file without positions, such as a pipe, is read from where it is. Raises ClientDisconnectedError if the client
        leaves meanwhile, and any OSError of reading the file.
        """
        count = min(count, PIECE)
        piece = read_now(file, offset, count)
        if piece is None:
            if not has_positions(file):
                # A pipe may let its reader wait for long, which must not keep a thread busy.
                with contextlib.suppress(PermissionError):  # the file is always ready (epoll_ctl(2), EPERM)
                    await self.wait_ready(file, self._loop.add_reader, self._loop.remove_reader)
                self.check()
            piece = await self.in_thread(FileRead(offset, count), file)
        return piece

    def disconnect(self) -> None:
        """Note that the client has left; a call that waits ends with ClientDisconnectedError."""
        self.lost = True
        if self._waiter is not None:
            settle(self._waiter)

    def check(self) -> None:
        """Raise ClientDisconnectedError if the client has left."""
        if self.lost:
            raise ClientDisconnectedError("the client has disconnected")

    async def wait_ready(self, descriptor: int, watch: Callable[..., object], unwatch: Callable[[int], object]) -> None:
        """Wait until `descriptor` is ready, or the client leaves.

        `watch` and `unwatch` are the loop's `add_reader` and `remove_reader`, or those for writers.
        """
        # A copy is watched: uvloop refuses to watch the descriptor of one of its transports, and the application may
        # watch the file's own.
        copy = os.dup(descriptor)
        try:
            self._waiter = waiter = self._loop.create_future()
            watch(copy, settle, waiter)
            try:
                await waiter
            finally:
                unwatch(copy)
        finally:
            self._waiter = None
            os.close(copy)

    async def in_thread(self, work: Callable[..., _T], *descriptors: int, sending: Sending | None = None) -> _T:
        """Call `work` in a thread with copies of `descriptors`; returns or raises what it does.

        Raises ClientDisconnectedError if the client leaves before that. If `work` is given as `sending` too, it is
        stopped then, or when the call is cancelled, and waited for up to PATIENCE.
        """
        job = Job(self._loop, work, *descriptors)
        try:
            try:
                self._waiter = waiter = self._loop.create_future()
                job.report_to(waiter)
                await waiter
            finally:
                self._waiter = None
                if not (job.done or job.withdraw()) and sending is not None:
                    sending.stopped = True
                    await job.wait(PATIENCE)
            if not job.done:
                raise ClientDisconnectedError("the client has disconnected")
            return job.result()
        finally:
            del job  # the traceback of its exception refers to this frame, which would be a reference cycle


async def send_in_pieces(
    reader: FileReader, stream: ResponseStream, file: int, offset: int, count: int, *, more: bool
) -> None:
    """Send a range of a file through `stream.write_body`, piece by piece; for a stream that does not own its socket.

    The last piece ends the response unless `more`. Returns once the stream has taken it. Takes turns with others as any
    response does. Raises AppError if the file ends early, ClientDisconnectedError if the client leaves, and any OSError
    of reading the file.
    """
    if not count:
        stream.write_body(b"", more)
        return
    allowance = stream.allowance()
    left = count
    while True:
        piece = await reader.read(file, offset + count - left, left)
        reader.check()
        if not piece:
            raise AppError(f"the file ended {left} bytes before what was to be sent of it")
        left -= len(piece)
        stream.write_body(piece, more or left > 0)
        if not left:
            return
        allowance.left -= len(piece) + MESSAGE
        if stream.congested:
            await stream.writable()
        elif allowance.left < 0:
            await allowance.renew()
        reader.check()
