"""Lines for a descriptor whose reader may be slow, stalled or gone: whoever writes them never waits."""

import contextlib
import os
import select
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

_ATOMIC = 4096  # bytes: a write of at most so many to a pipe is not mixed with those of others (PIPE_BUF, pipe(7))
_PAUSE = 0.05  # seconds until a descriptor that can be written, as poll(2) says, and takes nothing is tried again


class LineWriter:
    """Writes lines to `fd`, which stays open; nowhere if that is None.

    A file is written at once. Anything else takes at once what it has room for; the rest waits in a queue of `limit`
    bytes, or of one line that is longer, from which a thread writes it; what finds no place there is dropped and
    counted. `on_dropped` is called with that number when there is room again, and `on_fault` with the error when the
    stream cannot be written at all (its reader is gone, the disk is full), once until it can. Both may be called in any
    thread, and may log.

    So in the ordinary case no line waits, and none is lost with a process that crashes.
    """

    def __init__(
        self,
        fd: int | None,
        limit: int,
        on_dropped: Callable[[int], object],
        on_fault: Callable[[OSError], object] = lambda error: None,
    ) -> None:
        self._fd = fd
        self._limit = limit
        self._on_dropped = on_dropped
        self._on_fault = on_fault
        kind = 0 if self._fd is None else os.fstat(self._fd).st_mode
        self._is_file = stat.S_ISREG(kind)
        self._is_pipe = stat.S_ISFIFO(kind)
        self._unblocked = None if self._fd is None or self._is_file else _unblocked(self._fd, kind)
        self._begin()

    def _begin_in_child(self) -> None:
        """A forked process has neither the thread nor a claim to what waited, and the lock may be held by nobody."""
        if self._process != os.getpid():
            self._begin()

    def _begin(self) -> None:
        """Nothing waits and no thread runs."""
        self._process = os.getpid()
        self._pending: deque[bytes] = deque()  # the first stays here while it is being written
        self._size = 0  # bytes that are pending
        self._dropped = 0  # lines that nobody has been told of
        self._fault: OSError | None = None  # why the last write failed
        self._fault_told = False
        self._thread: threading.Thread | None = None
        self._closed = False
        # The lock is for one thread to take again: a signal's handler may log while a line is being written.
        self._changed = threading.Condition(threading.RLock())

    @property
    def has_room(self) -> bool:
        """Whether so little is pending that more is not dropped."""
        return self._size < self._limit

    @property
    def pending(self) -> int:
        """How many lines still wait to be written."""
        self._begin_in_child()
        with self._changed:
            return sum(piece.count(b"\n") for piece in self._pending)

    def write(self, lines: bytes) -> None:
        """Write whole lines, now or soon. Never waits for the reader and raises no OSError."""
        if self._fd is None:
            return
        self._begin_in_child()
        with self._changed:
            rest = deque(_pieces(lines) if self._is_pipe else (lines,))
            if not self._pending and (self._is_file or self._unblocked is not None):
                self._write_now(rest)
            self._keep(rest)
        self._tell()

    def drop(self, lines: int) -> None:
        """Count lines that were not even made, because there is no room."""
        self._begin_in_child()
        with self._changed:
            self._dropped += lines

    def flush(self, timeout: float) -> None:
        """Wait until everything is written, for at most `timeout` seconds."""
        self._begin_in_child()
        deadline = time.monotonic() + timeout
        with self._changed:
            while self._pending and (left := deadline - time.monotonic()) > 0:
                self._start_thread()
                self._changed.wait(min(left, _PAUSE))

    def close(self, timeout: float) -> None:
        """Flush, and give back what the writer has opened. It can still be used, but every line takes a thread."""
        self.flush(timeout)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            if not self._pending and self._unblocked is not None:
                self._unblocked.close()
                self._unblocked = None

    def _write_now(self, rest: deque[bytes]) -> None:
        """Write what there is room for; what is left in `rest` must wait."""
        while rest:
            try:
                written = self._write_once(rest[0])
            except BlockingIOError:
                return
            except OSError as error:
                self._lose(error, rest.popleft())
                continue
            self._advance(rest, written)

    def _write_once(self, piece: bytes) -> int:
        unblocked = self._unblocked
        assert self._fd is not None
        written = os.write(self._fd, piece) if unblocked is None else unblocked.write(piece)
        self._fault, self._fault_told = None, False
        return written

    def _keep(self, rest: deque[bytes]) -> None:
        """Have the thread write these; drop what is too much."""
        # One that is longer than the limit may have been written in part; cut off, it would run into the next line.
        while rest and (not self._pending or self._size + len(rest[0]) <= self._limit):
            self._size += len(rest[0])
            self._pending.append(rest.popleft())
        self._dropped += sum(piece.count(b"\n") for piece in rest)
        if self._pending:
            self._start_thread()
            self._changed.notify_all()

    def _lose(self, error: OSError, piece: bytes) -> None:
        self._fault = error
        self._dropped += piece.count(b"\n")

    @staticmethod
    def _advance(pieces: deque[bytes], written: int) -> None:
        first = pieces.popleft()
        if written < len(first):
            pieces.appendleft(first[written:])

    def _tell(self) -> None:
        """Say what was dropped if there is room again, or that nothing can be written."""
        with self._changed:
            fault, told, dropped = self._fault, self._fault_told, self._dropped
            if fault is not None:
                self._fault_told = True
            elif dropped and self._size <= self._limit // 2:
                self._dropped = 0
            else:
                return
        if fault is None:
            self._on_dropped(dropped)
        elif not told:
            self._on_fault(fault)

    # In the thread.

    def _start_thread(self) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="corehttp log lines", daemon=True)
            with contextlib.suppress(RuntimeError):  # no more threads can be had: the next line tries again
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._pending:
                    if self._closed:
                        self._thread = None
                        return
                    self._changed.wait()
                piece = self._pending[0]
            written = self._write_waiting(piece)
            with self._changed:
                self._advance(self._pending, written)
                self._size -= written
                if not self._pending:
                    self._size = 0  # exactly, whatever a signal's handler has logged in the middle of this
                    self._changed.notify_all()
            self._tell()

    def _write_waiting(self, piece: bytes) -> int:
        """Write some of it, however long that takes; all of it counts as written if it cannot be."""
        assert self._fd is not None
        ready = select.poll()
        ready.register(self._fd, select.POLLOUT)
        promised = False  # whether poll(2) has said that it can be written
        while True:
            try:
                return self._write_once(piece)
            except BlockingIOError:
                if promised:
                    time.sleep(_PAUSE)
                promised = bool(ready.poll())
            except OSError as error:
                with self._changed:
                    self._lose(error, piece)
                return len(piece)


class _Unblocked:
    """Another way to a pipe, terminal or socket, on which a write takes what there is room for and never waits.

    O_NONBLOCK belongs to the open file, which is shared with whoever else writes there: it is theirs to set.
    """

    def __init__(self, fd: int, sock: socket.socket | None) -> None:
        self._fd = fd
        self._socket = sock

    def write(self, data: bytes) -> int:
        """Answers how many bytes were taken; raises BlockingIOError where that is none."""
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT)
        return os.write(self._fd, data)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        else:
            os.close(self._fd)


def _unblocked(fd: int, kind: int) -> _Unblocked | None:
    """None where there is no such way: to open `fd` anew in /proc is known on Linux only, and may be forbidden."""
    try:
        if stat.S_ISSOCK(kind):
            # A time-out that the application has set for new sockets would make the open file non-blocking.
            standard = socket.getdefaulttimeout()
            socket.setdefaulttimeout(None)
            try:
                return _Unblocked(-1, socket.socket(fileno=os.dup(fd)))
            finally:
                socket.setdefaulttimeout(standard)
        return _Unblocked(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY), None)
    except OSError:
        return None


def _pieces(lines: bytes) -> Iterator[bytes]:
    """The lines in pieces that a pipe takes whole or not at all; only a line that is longer is a piece of its own."""
    begin = 0
    while len(lines) - begin > _ATOMIC:
        end = lines.rfind(b"\n", begin, begin + _ATOMIC) + 1
        if end == 0:
            end = lines.find(b"\n", begin) + 1 or len(lines)
        yield lines[begin:end]
        begin = end
    if begin < len(lines):
        yield lines[begin:]
