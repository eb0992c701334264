"""Write lines to a descriptor whose reader may be slow, stalled or gone, without ever waiting for it."""

import contextlib
import errno
import os
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from corehttp.windows import MSG_DONTWAIT, O_NOCTTY, O_PLAIN, POLLOUT, poll

_ATOMIC = 4096  # bytes that a pipe takes at once, or not at all, unmixed with the writes of others (PIPE_BUF, pipe(7))
_PAUSE = 0.05  # seconds before the next try, where a write takes nothing although poll(2) has said that it would


class LineWriter:
    """Writes lines to the descriptor `fd`, which stays open unless it is `owned`; if it is None, lines are discarded.

    A file is written at once. Anything else takes at once what it has room for; the rest waits in a queue of `limit`
    bytes, or of one line that is longer, from which a thread writes it. Lines for which the queue has no room are
    dropped and counted. So in the ordinary case no line waits, and none is lost with a process that crashes.

    `on_dropped` is called with the number of dropped lines when there is room again. `on_fault` is called with the
    error when nothing can be written (the reader is gone, the disk is full), and not again before something could.
    Both may be called in any thread, and may log.
    """

    def __init__(
        self,
        fd: int | None,
        limit: int,
        on_dropped: Callable[[int], object],
        on_fault: Callable[[OSError], object] = lambda error: None,
        *,
        owned: bool = False,
    ) -> None:
        self._fd = fd
        self._owned = owned
        self._limit = limit
        self._on_dropped = on_dropped
        self._on_fault = on_fault
        kind = 0 if self._fd is None else os.fstat(self._fd).st_mode
        self._kind = stat.S_IFMT(kind)
        self._cut = False  # whether a file ends within a line, since the disk was full
        self._is_file = stat.S_ISREG(kind)
        self._is_pipe = stat.S_ISFIFO(kind)
        self._unblocked = None if self._fd is None or self._is_file else _unblocked(self._fd, kind)
        self._begin()

    def _begin_in_child(self) -> None:
        """Start afresh in a forked process.

        It has no thread, what waited is its parent's to write, and a lock that was held stays held for ever.
        """
        if self._process != os.getpid():
            self._begin()

    def _begin(self) -> None:
        """Set the state in which nothing waits and no thread runs."""
        self._process = os.getpid()
        self._pending: deque[bytes] = deque()  # the first piece stays here while it is being written
        self._size = 0  # how many bytes are pending
        self._dropped = 0  # how many lines were dropped since `on_dropped` was called
        self._fault: OSError | None = None  # why the last write failed; None if it did not
        self._fault_told = False
        self._thread: threading.Thread | None = None
        self._closed = False
        # The lock can be taken again by the thread that has it: a signal handler may log while a line is being written.
        self._changed = threading.Condition(threading.RLock())

    @property
    def has_room(self) -> bool:
        """Whether the queue has room for more."""
        return self._size < self._limit

    @property
    def pending(self) -> int:
        """How many lines still wait to be written."""
        self._begin_in_child()
        with self._changed:
            return sum(piece.count(b"\n") for piece in self._pending)

    @property
    def dropped(self) -> int:
        """How many lines were dropped since `on_dropped` was called."""
        self._begin_in_child()
        return self._dropped

    def write(self, lines: bytes) -> None:
        """Write whole lines, now or soon; never waits for the reader and raises no OSError."""
        if self._fd is None:
            return
        self._begin_in_child()
        with self._changed:
            if self._cut:
                lines = b"\n" + lines
            rest = deque(_pieces(lines) if self._is_pipe else (lines,))
            if not self._pending and (self._is_file or self._unblocked is not None):
                self._write_now(rest)
            self._keep(rest)
        self._tell()

    def drop(self, lines: int) -> None:
        """Count lines as dropped which the caller has not even made, because `has_room` is false."""
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
        """Flush for at most `timeout` seconds, then close what the writer has opened.

        The writer can still be used, but a thread then writes every line that is not for a file. An owned descriptor is
        closed, too, if nothing waits any more, and lines are discarded then.
        """
        self.flush(timeout)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            if not self._pending and self._unblocked is not None:
                self._unblocked.close()
                self._unblocked = None
            if self._owned and not self._pending and self._fd is not None:
                os.close(self._fd)
                self._fd = None

    def reopen(self) -> str:
        """Do nothing, since only a file can be renamed; return that all is well, which is empty text."""
        return ""

    def _write_now(self, rest: deque[bytes]) -> None:
        """Write what the reader has room for, and remove it from `rest`; what is left there must wait."""
        begun = False  # whether a part of the first piece was written
        while rest:
            try:
                written = self._write_once(rest[0])
            except BlockingIOError:
                return
            except OSError as error:
                self._lose(error, rest.popleft())
                self._cut = self._is_file and (begun or self._cut)
                begun = False
                continue
            self._cut, begun = False, written < len(rest[0])
            self._advance(rest, written)

    def _write_once(self, piece: bytes) -> int:
        """Write some of a piece and return how many bytes that were; raises BlockingIOError if there is no room."""
        unblocked = self._unblocked
        assert self._fd is not None
        fd = self._fd if unblocked is None else unblocked.fileno()
        if stat.S_IFMT(os.fstat(fd).st_mode) != self._kind:
            # The application has closed it, and its number may be that of a connection to a client by now.
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        written = os.write(fd, piece) if unblocked is None else unblocked.write(piece)
        self._fault, self._fault_told = None, False
        return written

    def _keep(self, rest: deque[bytes]) -> None:
        """Leave these pieces to the thread; drop those for which the queue has no room."""
        # A piece is kept whatever its size if nothing else waits: it may have been written in part, and what follows
        # would run into it.
        while rest and (not self._pending or self._size + len(rest[0]) <= self._limit):
            self._size += len(rest[0])
            self._pending.append(rest.popleft())
        self._dropped += sum(piece.count(b"\n") for piece in rest)
        if self._pending:
            self._start_thread()
            self._changed.notify_all()

    def _lose(self, error: OSError, piece: bytes) -> None:
        """Record that a piece could not be written."""
        self._fault = error
        self._dropped += piece.removeprefix(b"\n").count(b"\n")

    @staticmethod
    def _advance(pieces: deque[bytes], written: int) -> None:
        """Remove so many bytes, which were written, from the first piece."""
        first = pieces.popleft()
        if written < len(first):
            pieces.appendleft(first[written:])

    def _tell(self) -> None:
        """Call `on_dropped` if lines were dropped and there is room again, or `on_fault` if nothing can be written."""
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

    def _start_thread(self) -> None:
        """Start the thread that writes what waits, unless it runs already."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="corehttp log lines", daemon=True)
            with contextlib.suppress(RuntimeError):  # the system has no room for a thread: the next line tries again
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        """Write what waits, in the thread, until the writer is closed and nothing waits any more."""
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
                    self._size = 0  # set exactly: a signal handler may have logged between the two changes above
                    self._changed.notify_all()
            self._tell()

    def _write_waiting(self, piece: bytes) -> int:
        """Wait until some of a piece can be written, write it, and return how many bytes that were.

        If the piece cannot be written at all, it counts as written, and its lines as dropped.
        """
        assert self._fd is not None
        ready = poll()
        ready.register(self._fd, POLLOUT)
        promised = False  # whether poll(2) has said that the descriptor can be written
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
    """A second way to a pipe, terminal or socket, on which a write takes what there is room for and never waits.

    O_NONBLOCK cannot be set on the descriptor itself: it belongs to the open file, which other processes share.
    """

    def __init__(self, fd: int, sock: socket.socket | None) -> None:
        self._fd = fd
        self._socket = sock

    def fileno(self) -> int:
        """The descriptor; -1 if the application has closed the socket that it belonged to."""
        return self._fd if self._socket is None else self._socket.fileno()

    def write(self, data: bytes) -> int:
        """Write, and return how many bytes were taken; raises BlockingIOError if that is none."""
        if self._socket is not None:
            return self._socket.send(data, MSG_DONTWAIT)
        return os.write(self._fd, data)

    def close(self) -> None:
        """Close the second way; the descriptor that it leads to stays open."""
        if self._socket is not None:
            self._socket.close()
        else:
            os.close(self._fd)


def _unblocked(fd: int, kind: int) -> _Unblocked | None:
    """Return a second way to `fd`, whose mode (stat(2), st_mode) is `kind`; None if there is none.

    A pipe or terminal is opened anew in /proc, which only Linux has, and which may be forbidden.
    """
    try:
        if stat.S_ISSOCK(kind):
            # A default time-out of the application for new sockets would make the open file non-blocking.
            standard = socket.getdefaulttimeout()
            socket.setdefaulttimeout(None)
            try:
                return _Unblocked(-1, socket.socket(fileno=os.dup(fd)))
            finally:
                socket.setdefaulttimeout(standard)
        return _Unblocked(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | O_NOCTTY | O_PLAIN), None)
    except OSError:
        return None


def _pieces(lines: bytes) -> Iterator[bytes]:
    """Yield lines in pieces that a pipe takes whole or not at all; a line that is too long is a piece of its own."""
    begin = 0
    while len(lines) - begin > _ATOMIC:
        end = lines.rfind(b"\n", begin, begin + _ATOMIC) + 1
        if end == 0:
            end = lines.find(b"\n", begin) + 1 or len(lines)
        yield lines[begin:end]
        begin = end
    if begin < len(lines):
        yield lines[begin:]
