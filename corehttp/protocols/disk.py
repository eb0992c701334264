"""Reading files without blocking the event loop: at once what is in memory, in threads what a disk may have to give."""

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from time import monotonic
from typing import Generic, TypeVar

PIECE = 65536  # bytes of a file that a transfer keeps in memory at once
CALL = 4 * PIECE  # bytes that one call of sendfile(2) sends; nothing can stop such a call
TURN = 0.05  # seconds after which a thread is free for another transfer; a fast disk fills any socket in less
THREADS = 8  # how many threads of the process wait for disks

_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)  # None where the C library does not know it
_T = TypeVar("_T")


def read_now(file: int, offset: int, count: int) -> bytes | None:
    """The `count` bytes of `file` from `offset` on if all of them are in memory, else None; never waits for a disk.

    None for more than PIECE bytes. It reads with RWF_NOWAIT (preadv2(2)), which ext4, xfs and btrfs know; elsewhere, as
    on tmpfs, the answer is None. It is None also if the file ends within the range, since Linux 5.9 and 5.10 report
    ends of files where there are none.
    """
    if count > PIECE or _NOWAIT is None:
        return None
    piece = bytearray(count)
    try:
        size = os.preadv(file, [piece], offset, _NOWAIT)
    except (OSError, NotImplementedError):  # EAGAIN, or an error that reading without the flag will show
        return None
    return bytes(piece) if size == count else None


def has_positions(file: int) -> bool:
    """Whether one can choose the position in `file` from which to read, unlike in a pipe."""
    try:
        os.lseek(file, 0, os.SEEK_CUR)  # unlike fstat(2) it never asks a file server
    except OSError as error:
        return error.errno != errno.ESPIPE
    return True


class FileRead:
    """The work of a Job that reads a piece of a file; a file without positions is read from where it is."""

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
    """The work of a Job that sends a range of a file to a socket with sendfile(2), until all is sent or it has to stop.

    Another thread may look at `sent` meanwhile, and set `stopped`.
    """

    __slots__ = ("_count", "_offset", "ended", "full", "sent", "stopped")

    def __init__(self, offset: int, count: int) -> None:
        self._offset = offset
        self._count = count
        self.sent = 0  # bytes that the kernel has taken
        self.stopped = False  # whether it must not begin another call of the kernel
        self.full = False  # whether it has ended because the socket takes no more
        self.ended = False  # whether the file ended before the range did

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
    """One call of `work` in a thread, with copies of `descriptors`, which the job closes however it ends.

    Raises OSError if they cannot be copied. All methods are to be called in the event loop's thread.
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
        """Whether the thread has made the call, and it has ended."""
        return self._future.done() and not self._future.cancelled()

    def result(self) -> _T:
        """What `work` has returned; raises what it has raised. Only for a job that is done."""
        return self._future.result()

    def report_to(self, waiter: "asyncio.Future[None]") -> None:
        """Settle `waiter` once the job is done."""
        self._future.add_done_callback(partial(_report, self._loop, waiter))

    async def wait(self, seconds: float) -> None:
        """Wait until the job is done, for so many seconds at most."""
        waiter = self._loop.create_future()
        self.report_to(waiter)
        timer = self._loop.call_later(seconds, settle, waiter)
        try:
            await waiter
        finally:
            timer.cancel()

    def withdraw(self) -> bool:
        """Take the job back if its call has not begun; answers whether it was taken back."""
        if not self._future.cancel():
            return False
        _close(self._copies)
        return True


def settle(waiter: "asyncio.Future[None]") -> None:
    """Let the task that awaits `waiter` go on."""
    if not waiter.done():
        waiter.set_result(None)


@cache
def _threads() -> ThreadPoolExecutor:
    """The threads of the process that wait for disks: started when needed, ended with the interpreter.

    The event loop's default executor is left to the application, which may keep all its threads busy.
    """
    return ThreadPoolExecutor(THREADS, thread_name_prefix="files")


def _copy(descriptors: tuple[int, ...]) -> list[int]:
    copies: list[int] = []
    try:
        copies.extend(map(os.dup, descriptors))  # one by one, so that `copies` has those before a failure
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
    with contextlib.suppress(RuntimeError):  # the event loop is closed, so nobody waits any more
        loop.call_soon_threadsafe(settle, waiter)
