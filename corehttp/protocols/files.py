"""A range of an open file to a client: through the kernel where it can be, and never a wait on the event loop.

What is in memory is read at once. What may have to come from a disk is sent, or read, in a thread, for a bounded time;
what a slow client has yet to take is waited for on the loop. So a disk holds threads, and a client none.
"""

import asyncio
import contextlib
import errno
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from corehttp.errors import ClientDisconnectedError
from corehttp.protocols.disk import PIECE, Job, Reading, Sending, has_positions, read_now, settle

FEW = 4 * PIECE  # up to here, to read what is in memory costs less than a thread: 50 against 80 us for two pieces
PATIENCE = 1.0  # seconds that a transfer which ends early waits for the call of the kernel in which its thread is

# What sendfile(2) answers for a file that it does not know how to send; read(2) may.
_REFUSED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ESPIPE})
# What a lost client looks like, beside what Python calls a ConnectionError.
_UNREACHABLE = frozenset({errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN})

_T = TypeVar("_T")


class Transfer:
    """A range of a file on its way to a client; serves one call at a time.

    `writable` waits until the transport's protocol is not told to pause, or the connection is lost. Until `send` has
    ended nobody else may write to the transport. Its protocol calls `disconnect` from `connection_lost`, and may cut a
    client that takes nothing: `sent` and `untaken` show that.

    A transfer can be cancelled at any moment, and the file closed right after. Neither then nor when the client is lost
    does its thread outlast `send`, unless a disk takes longer than PATIENCE for one call; that one goes on with
    descriptors of its own, so that the client may get more of the range than `sent` says: a connection whose transfer
    did not end by itself can only be aborted.
    """

    __slots__ = ("_loop", "_lost", "_sending", "_sent", "_transport", "_waiter", "_writable")

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        writable: Callable[[], Awaitable[None]],
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._writable = writable
        self._lost = False
        self._sending: Sending | None = None  # what a thread is at
        self._sent = 0  # but for that
        self._waiter: asyncio.Future[None] | None = None

    @property
    def sent(self) -> int:
        """Bytes of the range that the kernel has taken; or the transport, where all goes through it."""
        return self._sent + (self._sending.sent if self._sending is not None else 0)

    async def send(self, file: int, offset: int, count: int) -> int:
        """Send `count` bytes of `file` from `offset` on, behind what was written; answers how many there were.

        A file without positions, such as a pipe, is sent from where it is. Raises ClientDisconnectedError when the
        client is gone, and any other OSError that reading the file raises.
        """
        self._sent = 0
        few = count <= PIECE or (count <= FEW and _ends_in_memory(file, offset + count))
        if not few and self._feeds_socket():
            await self._flush()
            await self._through_kernel(file, offset, count)
        await self._through_memory(file, offset, count)
        return self._sent

    async def read(self, file: int, offset: int, count: int) -> bytes:
        """Some of `count` bytes of `file` from `offset` on, at most PIECE; none at its end.

        For who has to know what is sent before it is: the chunks of a source without a size. Raises as `send` does.
        """
        count = min(count, PIECE)
        piece = read_now(file, offset, count)
        if piece is None:
            if not has_positions(file):
                # What may be long in coming, as from a pipe, must not hold a thread.
                with contextlib.suppress(PermissionError):  # epoll_ctl(2): of a kind that is always ready
                    await self._ready(file, self._loop.add_reader, self._loop.remove_reader)
                self._check()
            piece = await self._in_thread(Reading(offset, count), file)
        return piece

    def disconnect(self) -> None:
        """The connection is lost: what is under way ends, by ClientDisconnectedError if there was more to send.

        A client that has all of a file and leaves at once has been served: so the call in which a thread hands over
        the last of it is waited for.
        """
        self._lost = True
        if self._waiter is not None:
            settle(self._waiter)

    def _check(self) -> None:
        # While the transport is not closing, its socket's descriptor is open, and is no other file's.
        if self._lost or self._transport.is_closing():
            raise ClientDisconnectedError("the client has disconnected")

    def _feeds_socket(self) -> bool:
        """Whether we may go past the transport: without TLS, and where the socket's queue can be seen (`untaken`)."""
        transport = self._transport
        return (
            sys.platform == "linux"
            and transport.get_extra_info("sslcontext") is None
            and transport.get_extra_info("socket") is not None
        )

    def _socket(self) -> int:
        self._check()
        descriptor: int = self._transport.get_extra_info("socket").fileno()
        return descriptor

    async def _flush(self) -> None:
        """Wait until the socket has all that was written to the transport."""
        transport = self._transport
        low, high = transport.get_write_buffer_limits()
        if transport.get_write_buffer_size():
            self._check()
            transport.set_write_buffer_limits(0)
            try:
                while transport.get_write_buffer_size():
                    await self._writable()
                    self._check()
            finally:
                if not transport.is_closing():
                    transport.set_write_buffer_limits(high, low)

    async def _through_kernel(self, file: int, offset: int, count: int) -> None:
        """Send with sendfile(2), as far as it goes: to the end of the range or the file, or not at all."""
        loop = self._loop
        while self._sent < count:
            self._sending = sending = Sending(offset + self._sent, count - self._sent)
            try:
                await self._in_thread(sending, self._socket(), file)
            except OSError as error:
                if error.errno in _REFUSED:
                    return
                if _is_loss(error):
                    raise ClientDisconnectedError("the client has disconnected") from error
                raise
            finally:
                self._sending = None
                self._sent += sending.sent
            if sending.full:
                await self._ready(self._socket(), loop.add_writer, loop.remove_writer)
            elif sending.ended:
                return

    async def _through_memory(self, file: int, offset: int, count: int) -> None:
        while self._sent < count:
            self._check()
            piece = await self.read(file, offset + self._sent, count - self._sent)
            if not piece:
                return
            self._check()
            if self._feeds_socket():
                await self._hand_over(piece)
            else:
                self._transport.write(piece)
                self._sent += len(piece)
                await self._writable()
            if self._sent < count:
                await asyncio.sleep(0)  # a fast client must not keep the others waiting

    async def _hand_over(self, piece: bytes) -> None:
        """Give a piece to the socket: what is in the transport's buffer when the client leaves, nobody could count."""
        await self._flush()
        rest = memoryview(piece)
        while rest:
            try:
                size = os.write(self._socket(), rest)
            except BlockingIOError:
                await self._ready(self._socket(), self._loop.add_writer, self._loop.remove_writer)
            except OSError as error:
                if _is_loss(error):
                    raise ClientDisconnectedError("the client has disconnected") from error
                raise
            else:
                self._sent += size
                rest = rest[size:]

    async def _ready(self, descriptor: int, watch: Callable[..., object], unwatch: Callable[[int], object]) -> None:
        # A copy, since uvloop refuses to watch what one of its transports does, and the file may be watched as well.
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

    async def _in_thread(self, work: Callable[..., _T], *descriptors: int) -> _T:
        """What `work` answers; ClientDisconnectedError if the client leaves before it does."""
        job = Job(self._loop, work, *descriptors)
        try:
            try:
                self._waiter = waiter = self._loop.create_future()
                job.report_to(waiter)
                await waiter
            finally:
                self._waiter = None
                if not (job.done or job.withdraw()) and self._sending is not None:
                    self._sending.stopped = True
                    await job.wait(PATIENCE)
            if not job.done:
                raise ClientDisconnectedError("the client has disconnected")
            return job.result()
        finally:
            del job  # its exception's traceback leads back here: a cycle


def _is_loss(error: OSError) -> bool:
    """Whether what a socket says means that its client is gone."""
    return isinstance(error, ConnectionError) or error.errno in _UNREACHABLE


def _ends_in_memory(file: int, end: int) -> bool:
    """Whether the last byte before `end` is in memory, as then most likely all are."""
    return read_now(file, end - 1, 1) is not None
