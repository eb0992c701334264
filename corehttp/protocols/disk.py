"""What a file has in memory, at once; what may have to come from a disk, in threads of its own."""

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from time import monotonic
from typing import Generic, TypeVar

PIECE = 65536  # bytes of a file kept in memory at once
CALL = 4 * PIECE  # bytes that one call of the kernel sends: nothing stops it before it is through
TURN = 0.05  # seconds after which a thread is free for another transfer: in them a fast disk fills any socket's buffer
THREADS = 8  # that wait for disks, in the whole process

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


def has_positions(file: int) -> bool:
    """Whether `file` is read from where one wants, unlike a pipe."""
    try:
        os.lseek(file, 0, os.SEEK_CUR)  # unlike fstat(2) it never asks a file server
    except OSError as error:
        return error.errno != errno.ESPIPE
    return True


class FileRead:
    """Reads a piece of a file, for a Job; of one without positions from where it is."""

    __slots__ = ("_count", "_offset")

    def __init__(self, offset: int, count: int) -> None:
        self._offset = offset
        self._count = count

    def __call__(self, file: int) -> bytes:
        try:
            return os.pread(file, self._count, self._offset)
        except OSError as error:
            if error.errno != errno.ESPIPE:
                raise
            return os.read(file, self._count)


class Sending:
    """Sends a range of a file to a socket with sendfile(2), for a Job: until it is through, or has to stop.

    Other threads may look at `sent` meanwhile, and set `stopped`.
    """

    __slots__ = ("_count", "_offset", "ended", "full", "sent", "stopped")

    def __init__(self, offset: int, count: int) -> None:
        self._offset = offset
        self._count = count
        self.sent = 0  # bytes that the kernel has taken
        self.stopped = False  # do not begin another call
        self.full = False  # the socket takes no more
        self.ended = False  # the file has, before the range

    def __call__(self, sock: int, file: int) -> None:
        end = monotonic() + TURN
        while self.sent < self._count and not self.stopped:
            try:
                size = os.sendfile(sock, file, self._offset + self.sent, min(CALL, self._count - self.sent))
            except BlockingIOError:
                self.full = True
                return
            if size == 0:
                self.ended = True
                return
            self.sent += size
            if monotonic() >= end:
                return


class Job(Generic[_T]):
    """One call of `work` in a thread, with copies of the descriptors: its own to close, however it ends.

    Raises OSError where they cannot be copied. All methods are for the event loop's thread.
    """

    __slots__ = ("_copies", "_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Callable[..., _T], *descriptors: int) -> None:
        self._loop = loop
        self._copies = _copy(descriptors)
        try:
            self._future = _threads().submit(_work_and_close, work, self._copies)
        except BaseException:  # the interpreter ends
            _close(self._copies)
            raise

    @property
    def done(self) -> bool:
        """Whether its thread has ended it."""
        return self._future.done() and not self._future.cancelled()

    def result(self) -> _T:
        """What `work` has returned, or raises what it has raised; only for one that is done."""
        return self._future.result()

    def report_to(self, waiter: "asyncio.Future[None]") -> None:
        """Settle `waiter` once it is done."""
        self._future.add_done_callback(partial(_report, self._loop, waiter))

    async def wait(self, seconds: float) -> None:
        """Until it is done, for so many seconds at most."""
        waiter = self._loop.create_future()
        self.report_to(waiter)
        timer = self._loop.call_later(seconds, settle, waiter)
        try:
            await waiter
        finally:
            timer.cancel()

    def withdraw(self) -> bool:
        """Whether it had not begun, and now never will."""
        if not self._future.cancel():
            return False
        _close(self._copies)
        return True


def settle(waiter: "asyncio.Future[None]") -> None:
    """Let who awaits `waiter` go on."""
    if not waiter.done():
        waiter.set_result(None)


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
    while descriptors:
        os.close(descriptors.pop())


def _work_and_close(work: Callable[..., _T], descriptors: list[int]) -> _T:
    try:
        return work(*descriptors)
    finally:
        _close(descriptors)


def _report(loop: asyncio.AbstractEventLoop, waiter: "asyncio.Future[None]", job: Future[_T]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed, so that nobody waits any more
        loop.call_soon_threadsafe(settle, waiter)
