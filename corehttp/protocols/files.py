"""A range of an open file to a client: through the kernel where it can be, and never a wait on the event loop.

What is in memory is read at once. What may have to come from a disk is sent, or read, in a thread, in steps of bounded
size; what a slow client has yet to take is waited for on the loop. So a disk holds threads, and a client none.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import sys
import termios
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from typing import TypeVar

from corehttp.errors import ClientDisconnectedError

PIECE = 65536  # bytes of a file kept in memory at once
FEW = 4 * PIECE  # up to here, to read what is in memory costs less than a thread: 50 against 80 us for two pieces
STEP = 4 << 20  # bytes that a thread hands to the socket before it is free for another transfer
THREADS = 8  # that wait for disks, in the whole process

# What sendfile(2) answers for a file that it does not know how to send; read(2) may.
_REFUSED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ESPIPE})
# What a lost client looks like, beside what Python calls a ConnectionError.
_UNREACHABLE = frozenset({errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN})

_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)  # where the C library knows it
_T = TypeVar("_T")


def read_now(file: int, offset: int, count: int) -> bytes | None:
    """`count` bytes of `file` from `offset` on, at most PIECE, if they are in memory; else None. Never waits.

    It reads with RWF_NOWAIT (preadv2(2)), which ext4, xfs and btrfs know; elsewhere, as on tmpfs, the answer is None.
    An end of the file before `count` is None too: Linux 5.9 and 5.10 report one where there is none.
    """
    if count > PIECE or _NOWAIT is None:
        return None
    piece = bytearray(count)
    try:
        size = os.preadv(file, [piece], offset, _NOWAIT)
    except (OSError, NotImplementedError):  # EAGAIN, or any other: who reads it without the flag will learn
        return None
    return bytes(piece) if size == count else None


def untaken(transport: asyncio.Transport) -> int:
    """Bytes written that the client's system has not acknowledged: in the transport's buffer, on Linux the kernel's.

    A client takes nothing while both this and the number of bytes written stand still. The latter alone may do so with
    a client that reads steadily: a socket takes more when a third of its buffer is free, and that may be a megabyte.
    A transport that is closing still sends what it has, until its connection is lost.
    """
    size = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    descriptor = -1 if sock is None else sock.fileno()
    if descriptor >= 0 and sys.platform == "linux":
        queued = fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4))  # SIOCOUTQ: tcp(7), unix(7)
        size += int.from_bytes(queued, sys.byteorder)
    return size


class Transfer:
    """A range of a file on its way to a client; serves one call at a time.

    `writable` waits until the transport's protocol is not told to pause, or the connection is lost. Until `send` has
    ended nobody else may write to the transport. Its protocol calls `disconnect` from `connection_lost`, and may cut a
    client that takes nothing: `sent` and `untaken` show that.

    A transfer can be cancelled at any moment, and the file closed right after. A thread that is at work then goes on
    to the end of its step with descriptors of its own, so that the client may get more of the range than `sent` says:
    a connection whose transfer did not end by itself can only be aborted.
    """

    __slots__ = ("_loop", "_lost", "_transport", "_waiter", "_writable", "sent")

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
        self._waiter: asyncio.Future[None] | None = None
        self.sent = 0  # bytes of the range given to the transport or the socket

    async def send(self, file: int, offset: int, count: int) -> int:
        """Send `count` bytes of `file` from `offset` on, behind what was written; answers how many there were.

        A file without positions, such as a pipe, is sent from where it is. Raises ClientDisconnectedError when the
        client is gone, and any other OSError that reading the file raises.
        """
        self.sent = 0
        few = count <= PIECE or (count <= FEW and _ends_in_memory(file, offset + count))
        if not few and self._takes_from_kernel():
            await self._flush()
            await self._through_kernel(file, offset, count)
        await self._through_memory(file, offset, count)
        return self.sent

    async def read(self, file: int, offset: int, count: int) -> bytes:
        """Some of `count` bytes of `file` from `offset` on, at most PIECE; none at its end.

        For who has to know what is sent before it is: the chunks of a source without a size. Raises as `send` does.
        """
        count = min(count, PIECE)
        piece = read_now(file, offset, count)
        if piece is None:
            if not _has_positions(file):
                # What may be long in coming, as from a pipe, must not hold a thread.
                with contextlib.suppress(PermissionError):  # epoll_ctl(2): of a kind that is always ready
                    await self._ready(file, self._loop.add_reader, self._loop.remove_reader)
                self._check()
            piece = await self._in_thread(_read, (file,), offset, count)
        return piece

    def disconnect(self) -> None:
        """The connection is lost: what is under way ends, by ClientDisconnectedError if there was more to send.

        A thread's step is waited for: a client that has all of a file and leaves at once has been served.
        """
        self._lost = True
        if self._waiter is not None:
            _settle(self._waiter)

    def _check(self) -> None:
        # While the transport is not closing, its socket's descriptor is open, and is no other file's.
        if self._lost or self._transport.is_closing():
            raise ClientDisconnectedError("the client has disconnected")

    def _takes_from_kernel(self) -> bool:
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
        while self.sent < count:
            step = min(STEP, count - self.sent)
            try:
                size, full = await self._in_thread(_sendfile, (self._socket(), file), offset + self.sent, step)
            except OSError as error:
                if error.errno in _REFUSED:
                    return
                if isinstance(error, ConnectionError) or error.errno in _UNREACHABLE:
                    raise ClientDisconnectedError("the client has disconnected") from error
                raise
            self.sent += size
            if full:
                await self._ready(self._socket(), loop.add_writer, loop.remove_writer)
            elif size < step:
                return

    async def _through_memory(self, file: int, offset: int, count: int) -> None:
        while self.sent < count:
            self._check()
            piece = await self.read(file, offset + self.sent, count - self.sent)
            if not piece:
                return
            self._check()
            self._transport.write(piece)
            self.sent += len(piece)
            await self._writable()
            if self.sent < count:
                await asyncio.sleep(0)  # a fast client must not keep the others waiting

    async def _ready(self, descriptor: int, watch: Callable[..., object], unwatch: Callable[[int], object]) -> None:
        # A copy, since uvloop refuses to watch what one of its transports does, and the file may be watched as well.
        copy = os.dup(descriptor)
        try:
            self._waiter = waiter = self._loop.create_future()
            watch(copy, _settle, waiter)
            try:
                await waiter
            finally:
                unwatch(copy)
        finally:
            self._waiter = None
            os.close(copy)

    async def _in_thread(self, call: Callable[..., _T], descriptors: tuple[int, ...], offset: int, count: int) -> _T:
        """Answer `call(*descriptors, offset, count)`, which gets copies of them: its own to close, however we end."""
        copies = _copy(descriptors)
        job = _threads().submit(_call_and_close, call, copies, offset, count)
        waiter = self._loop.create_future()
        job.add_done_callback(partial(_report, self._loop, waiter))
        try:
            await waiter
            return job.result()
        finally:
            if job.cancel():  # it had not begun
                _close(copies)
            del job  # its exception's traceback leads back here: a cycle


# In the loop's thread.


@cache
def _threads() -> ThreadPoolExecutor:
    """The process's threads for waiting on disks: started when needed, ended with the interpreter.

    The loop's own are the application's, which may keep all of them busy.
    """
    return ThreadPoolExecutor(THREADS, thread_name_prefix="files")


def _copy(descriptors: tuple[int, ...]) -> list[int]:
    copies: list[int] = []
    try:
        copies.extend(map(os.dup, descriptors))  # one by one: those before a failure are in it
    except OSError:
        _close(copies)
        raise
    return copies


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _settle(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _ends_in_memory(file: int, end: int) -> bool:
    """Whether the last byte before `end` is in memory, as then most likely all are."""
    return read_now(file, end - 1, 1) is not None


def _has_positions(file: int) -> bool:
    try:
        os.lseek(file, 0, os.SEEK_CUR)  # unlike fstat(2) it never asks a file server
    except OSError as error:
        return error.errno != errno.ESPIPE
    return True


# In a thread.


def _call_and_close(call: Callable[..., _T], descriptors: list[int], offset: int, count: int) -> _T:
    try:
        return call(*descriptors, offset, count)
    finally:
        _close(descriptors)


def _sendfile(sock: int, file: int, offset: int, count: int) -> tuple[int, bool]:
    """Send until `count` bytes are through or the file ends; answers how many, and whether the socket stopped us."""
    sent = 0
    while sent < count:
        try:
            size = os.sendfile(sock, file, offset + sent, count - sent)
        except OSError as error:
            if sent or isinstance(error, BlockingIOError):
                return sent, True  # another error comes again with the next call
            raise
        if size == 0:
            break
        sent += size
    return sent, False


def _read(file: int, offset: int, count: int) -> bytes:
    try:
        return os.pread(file, count, offset)
    except OSError as error:
        if error.errno != errno.ESPIPE:
            raise
        return os.read(file, count)


def _report(loop: asyncio.AbstractEventLoop, waiter: asyncio.Future[None], job: Future[_T]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed, so that nobody waits any more
        loop.call_soon_threadsafe(_settle, waiter)
