"""Counters in shared memory: a row for each worker process, which that worker alone writes and every process may read.

A faulty worker could write anywhere in the memory, so what is read is input like any other: every number that is read
is a finite count or time, whatever bytes there are. The memory cannot be truncated while others read it.
"""

import fcntl
import math
import mmap
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from functools import partial

from corehttp.text import printable

ROWS = 1024  # the most worker processes at once; rows that nobody has written take no memory
_SIZE = 4096  # bytes of a row: a page of memory, so that no two workers write to the same page
_END = ROWS * _SIZE  # the offset of the number that says how far rows are in use
_SLOT, _STATE, _BEAT, _CONNECTIONS, _LIMIT, _REQUESTS, _HANDED_OVER, _TAKEN_OVER = range(0, 64, 8)
_WEBSOCKETS, _ANSWERED, _CUT = range(64, 88, 8)
_MOST = 1 << 48  # the largest count that is believed
_WORD = struct.Struct("@Q")
_TIME = struct.Struct("@d")
# A request: when it began (seconds, monotonic; 0: there is none), its method and its path, as far as there is room.
_CELL = struct.Struct("@d16s136s")
_CELLS = 256  # offset of the first one, in which the last request that has begun stands
_CELL_COUNT = (_SIZE - _CELLS) // _CELL.size


class State(IntEnum):
    """Where a worker is in its life, as its siblings see it."""

    STARTING = 0
    SERVING = 1
    LEAVING = 2


@dataclass(frozen=True, slots=True)
class InFlight:
    """A request that has not ended."""

    method: str
    path: str
    age: float  # seconds
    running: bool  # whether its application was running, and not waiting for anything


class _Number:
    """One aligned word, so that a reader never sees half of it: a count, at most _MOST, or finite seconds."""

    def __init__(self, offset: int, form: struct.Struct = _WORD) -> None:
        self._offset = offset
        self._form = form

    def __get__(self, row: "Row", owner: object = None) -> float:
        number: float = self._form.unpack_from(row.memory, row.start + self._offset)[0]
        return number if 0 <= number <= _MOST else 0

    def __set__(self, row: "Row", value: float) -> None:
        self._form.pack_into(row.memory, row.start + self._offset, value)


class Row:
    """The figures of one worker."""

    __slots__ = ("_free", "begin", "memory", "pause", "start")

    state = _Number(_STATE)
    beat = _Number(_BEAT, _TIME)  # when the event loop ran last (seconds, monotonic)
    connections = _Number(_CONNECTIONS)  # how many are open
    limit = _Number(_LIMIT)  # the most connections that it takes; 0: no limit
    requests = _Number(_REQUESTS)  # how many requests have begun
    handed_over = _Number(_HANDED_OVER)  # how many connections were passed to other workers
    taken_over = _Number(_TAKEN_OVER)  # how many connections came from other workers
    websockets = _Number(_WEBSOCKETS)  # how many are open, or have an application that has not returned
    answered = _Number(_ANSWERED)  # how many requests it has answered since it was told to leave
    cut = _Number(_CUT)  # how many requests and WebSockets it has cut at the end of its graceful time

    def __init__(self, memory: mmap.mmap, start: int) -> None:
        self.memory = memory
        self.start = start
        self._free: list[int] | None = (
            None  # the free places of the table; only the worker that writes the row knows them
        )
        # A request begins to run: begin(now, method, path); it runs no more, for it has ended or waits: pause().
        # Without a frame of Python's, since every request pays for it: 0.11 us for both (timeit, CPython 3.13), where
        # methods of this class that do the same take 0.16.
        self.begin = partial(_CELL.pack_into, memory, self._cell(0))
        self.pause = partial(_TIME.pack_into, memory, self._cell(0), 0.0)

    @property
    def slot(self) -> int:
        """The number of the slot whose worker has this row, less than ROWS; -1 if nobody has it."""
        number: int = _WORD.unpack_from(self.memory, self.start + _SLOT)[0]
        return number - 1 if number <= ROWS else -1

    def beaten_by(self, now: float) -> float:
        """When the event loop ran last (seconds, monotonic); 0 if the row claims a time after `now`."""
        beat = self.beat
        return beat if beat <= now else 0.0

    def enter(self, now: float, method: bytes, path: bytes) -> int:
        """Enter a request that waits in the table; return its place there, or 0 if there is no place left."""
        if self._free is None:
            self._free = list(range(1, _CELL_COUNT))
        if not self._free:
            return 0
        cell = self._free.pop()
        _CELL.pack_into(self.memory, self._cell(cell), now, method, path)
        return cell

    def leave(self, cell: int) -> None:
        """Remove the request in this place from the table, since it has ended. Place 0 is ignored."""
        if cell and self._free is not None:
            _TIME.pack_into(self.memory, self._cell(cell), 0.0)
            self._free.append(cell)

    def in_flight(self, now: float) -> list[InFlight]:
        """Return the requests that have not ended: the one that runs first, then those that wait, the oldest first."""
        found: list[InFlight] = []
        for cell in range(_CELL_COUNT):
            began, method, path = _CELL.unpack_from(self.memory, self._cell(cell))
            if 0 < began < math.inf:
                found.append(
                    InFlight(_text(method).removesuffix("..."), _text(path), max(0.0, now - began), running=not cell)
                )
        return sorted(found, key=lambda request: (not request.running, -request.age))

    def _cell(self, number: int) -> int:
        return self.start + _CELLS + number * _CELL.size


class Scoreboard:
    """The rows of all workers. The supervisor creates the scoreboard and assigns the rows; workers adopt it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, _END + _WORD.size)
        self._taken: set[int] = set()

    @classmethod
    def create(cls) -> "Scoreboard":
        """Return a new scoreboard. Raises OSError."""
        if sys.platform == "linux":
            fd = os.memfd_create("corehttp-scoreboard", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        else:
            import tempfile  # here, since it brings much along

            fd, path = tempfile.mkstemp()
            os.unlink(path)
        os.ftruncate(fd, _END + _WORD.size)
        if sys.platform == "linux":
            # Who reads memory whose file has been truncated is ended by SIGBUS (memfd_create(2), "File sealing").
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return cls(fd)

    @classmethod
    def adopt(cls, fd: int) -> "Scoreboard":
        """Return the scoreboard whose memory this process has received as the descriptor `fd`."""
        return cls(fd)

    def claim(self, slot: int) -> int:
        """Return the number of a cleared row for a new worker. Raises OSError if every row is taken."""
        number = next((number for number in range(ROWS) if number not in self._taken), None)
        if number is None:
            raise OSError(f"there are {ROWS} worker processes already")
        self._taken.add(number)
        _WORD.pack_into(self._memory, _END, _SIZE * (max(self._taken) + 1))
        self._memory[number * _SIZE : (number + 1) * _SIZE] = bytes(_SIZE)
        _WORD.pack_into(self._memory, number * _SIZE + _SLOT, slot + 1)
        return number

    def release(self, number: int) -> None:
        """Free the row of a worker that has ended."""
        _WORD.pack_into(self._memory, number * _SIZE + _SLOT, 0)
        self._taken.discard(number)
        _WORD.pack_into(self._memory, _END, _SIZE * (max(self._taken, default=-1) + 1))

    def row(self, number: int) -> Row:
        """The row of this number."""
        return Row(self._memory, number * _SIZE)

    def rows(self) -> Iterator[Row]:
        """The rows of all workers."""
        for start in range(0, min(_END, _WORD.unpack_from(self._memory, _END)[0]), _SIZE):
            row = Row(self._memory, start)
            if row.slot >= 0:
                yield row

    def close(self) -> None:
        self._memory.close()
        os.close(self.fd)


def _text(raw: bytes) -> str:
    """Return text that a log line can show. Dots mark one that fills its place, since its end may be missing."""
    text = raw.rstrip(b"\0")
    return printable(text.decode("latin-1")) + ("..." if len(text) == len(raw) else "")
