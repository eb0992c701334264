"""Reads files without blocking the event loop: at once what is in memory, in threads what may come from a disk."""

import asyncio
import contextlib
import errno
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from time import monotonic
from typing import Generic, TypeVar

PIECE = 65536  # bytes of a file that a transfer keeps in memory at once
CALL = 4 * PIECE  # bytes that one call of sendfile(2) sends at most; a call that has begun cannot be stopped
TURN = 0.05  # seconds that a thread works for a transfer, until others have theirs; a fast disk fills a socket sooner
THREADS = 8  # how many threads of the process may wait for disks

_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)  # None where the C library does not know it
_T = TypeVar("_T")


def read_now(file: int, offset: int, count: int) -> bytes | None:
    """Return the `count` bytes of `file` from `offset` on if all are in memory, else None; never waits for a disk.

    Also None for more than PIECE bytes, for file systems that do not know RWF_NOWAIT (preadv2(2): ext4, xfs and btrfs
    do, tmpfs does not), and if the file ends within the range, since Linux 5.9 and 5.10 report ends of files where
    there are none.
    """
    if count > PIECE or _NOWAIT is None:
        return None
    if sys.platform == "win32":
        raise NotImplementedError
    piece = bytearray(count)
    try:
        size = os.preadv(file, [piece], offset, _NOWAIT)
    except (OSError, NotImplementedError):  # EAGAIN, or an error that reading without the flag will show
        return None
    return bytes(piece) if size == count else None


def has_positions(file: int) -> bool:
    """Whether the position in `file` from which to read can be chosen, as it cannot in a pipe."""
    try:
        os.lseek(file, 0, os.SEEK_CUR)  # unlike fstat(2) it never asks a file server
    except OSError as error:
        return error.errno != errno.ESPIPE
    return True


class FileRead:
    """The work of a Job that reads a piece of a file; one without positions, such as a pipe, is read where it is."""

    __slots__ = ("_count", "_offset")

    def __init__(self, offset: int, count: int) -> None:
        self._offset = offset
        self._count = count

    def __call__(self, file: int) -> bytes:
        """Return bytes of `file`; none at its end. Raises OSError."""
        if sys.platform == "win32":
            raise NotImplementedError
        try:
            return os.pread(file, self._count, self._offset)
        except OSError as error:
            if error.errno != errno.ESPIPE:
                raise
            return os.read(file, self._count)


class Sending:
    """The work of a Job that sends a range of a file to a socket with sendfile(2), for at most TURN seconds.

    It ends earlier when all is sent, the socket takes no more (`full`), the file ends (`ended`), or another thread has
    set `stopped`. Another thread may read `sent` at any time.
    """

    __slots__ = ("_count", "_offset", "ended", "full", "sent", "stopped")

    def __init__(self, offset: int, count: int) -> None:
        self._offset = offset
        self._count = count
        self.sent = 0  # bytes that the kernel has taken
        self.stopped = False  # whether no other call of sendfile(2) is to begin
        self.full = False  # whether the work has ended because the socket takes no more
        self.ended = False  # whether the file ended before the range did

    def __call__(self, sock: int, file: int) -> None:
        """Send from `file` to `sock` until one of the ends that the class names. Raises OSError."""
        if sys.platform == "win32":
            raise NotImplementedError
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
    """One call of `work` in a thread, with copies of `descriptors` as arguments, which are closed in any case.

    To make a job raises OSError if the descriptors cannot be copied. All methods are to be called in the event loop's
    thread.
    """

    __slots__ = ("_copies", "_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Callable[..., _T], *descriptors: int) -> None:
        self._loop = loop
        self._copies = _copy(descriptors)
        try:
            self._future = _threads().submit(_work_and_close, work, self._copies)
        except BaseException:  # such as RuntimeError when the interpreter ends
            _close(self._copies)
            raise

    @property
    def done(self) -> bool:
        """Whether the call has ended."""
        return self._future.done() and not self._future.cancelled()

    def result(self) -> _T:
        """Return what `work` has returned, or raise what it has raised; only for a job that is done."""
        return self._future.result()

    def report_to(self, waiter: "asyncio.Future[None]") -> None:
        """Call `settle` with `waiter` in the event loop once the job is done."""
        self._future.add_done_callback(partial(_report, self._loop, waiter))

    async def wait(self, seconds: float) -> None:
        """Wait until the job is done, for at most `seconds`."""
        waiter = self._loop.create_future()
        self.report_to(waiter)
        timer = self._loop.call_later(seconds, settle, waiter)
        try:
            await waiter
        finally:
            timer.cancel()

    def withdraw(self) -> bool:
        """Take the job back if its call has not begun; answers whether it is taken back."""
        if not self._future.cancel():
            return False
        _close(self._copies)
        return True


def settle(waiter: "asyncio.Future[None]") -> None:
    """Let the task that awaits `waiter` go on, unless it does already."""
    if not waiter.done():
        waiter.set_result(None)


@cache
def _threads() -> ThreadPoolExecutor:
    """Return the threads of the process that wait for disks; started when needed, ended with the interpreter.

    The event loop's default executor is left to the application, which may keep all of its threads busy.
    """
    return ThreadPoolExecutor(THREADS, thread_name_prefix="files")


def _copy(descriptors: tuple[int, ...]) -> list[int]:
    """Return copies of all `descriptors`; raises OSError if one cannot be copied, and leaves no copy then."""
    copies: list[int] = []
    try:
        copies.extend(map(os.dup, descriptors))  # extend() adds one by one, so that `copies` has all before a failure
    except OSError:
        _close(copies)
        raise
    return copies


def _close(descriptors: list[int]) -> None:
    """Close all `descriptors`, and empty the list."""
    while descriptors:
        os.close(descriptors.pop())


def _work_and_close(work: Callable[..., _T], descriptors: list[int]) -> _T:
    """Call `work` with the descriptors and close them; what a thread does for a job."""
    try:
        return work(*descriptors)
    finally:
        _close(descriptors)


def _report(loop: asyncio.AbstractEventLoop, waiter: "asyncio.Future[None]", job: Future[_T]) -> None:
    """Settle `waiter` in its event loop; called in the thread of `job`, which has ended."""
    with contextlib.suppress(RuntimeError):  # the event loop is closed, so nobody waits any more
        loop.call_soon_threadsafe(settle, waiter)
