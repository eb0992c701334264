"""Counters in shared memory: a row for each worker process, which that worker writes and every process may read.

The supervisor writes whose a row is, and `Row.told`; its worker alone writes the rest. A row has numbers that change at
once, and `counters`, which its worker writes about once a second. What the workers have counted outlives them:
`Scoreboard.release` adds the counters of one that has ended to those of its slot.

A faulty worker could write anywhere in the memory, so what is read is input like any other: every number that is read
is a finite count or time, whatever bytes there are. The memory cannot be truncated while others read it.
"""

import contextlib
import fcntl
import math
import mmap
import os
import struct
import sys
from collections.abc import Iterator
from enum import IntEnum
from functools import partial

from corehttp.ipc import stack_area, sticky_area
from corehttp.ipc.balance import Load
from corehttp.ipc.counters import MOST, Counters, ServiceCounters, total
from corehttp.ipc.memory_file import new_descriptor
from corehttp.ipc.page import SIZE as PAGES
from corehttp.ipc.page import VersionedPage
from corehttp.moments import BEAT
from corehttp.records import record
from corehttp.text import printable

ROWS = 1024  # the most worker processes at once; rows that nobody has written take no memory
_SIZE = 4096  # bytes of a row: a page of memory, so that no two workers write to the same page
_END = ROWS * _SIZE  # the offset of the number that says how far rows are in use
_SLOT, _STATE, _BEAT, _CONNECTIONS, _LIMIT, _REQUESTS, _HANDED_OVER, _TAKEN_OVER = range(0, 64, 8)
_WEBSOCKETS, _ANSWERED, _CUT, _LAG, _RUNNING, _QUEUED, _CLAIM, _VERSION = range(64, 128, 8)
_ARRIVING, _REPORTED, _TOLD = 128, 136, 144
# What others look at to place a connection, read in one call.
_LOAD = struct.Struct("@QQdQQ56xQ24xQdQ")
_WORD = struct.Struct("@Q")
_TIME = struct.Struct("@d")
# A request: when it began (seconds, monotonic; 0: there is none), its method and its path, as far as there is room.
_CELL = struct.Struct("@d16s136s")
_CELLS = 256  # offset of the first one, in which the last request that has begun stands
_CELL_COUNT = (_SIZE - _CELLS) // _CELL.size
# Behind the rows, and before the area for stacks: the pages of the counters of each row, those of each slot, and those
# of the service. The versions of the latter two, and how many slots there have been, stand behind the number at _END.
_LIVE = 8 << 20
_RETIRED = _LIVE + ROWS * PAGES
_SERVICE = _RETIRED + ROWS * PAGES
_SLOTS, _SERVICE_VERSION, _RETIRED_VERSIONS = _END + 8, _END + 16, _END + 24
_ATTEMPTS = 100  # to read the counters of a slot while none of its workers ends


class RowState(IntEnum):
    """Where a worker is in its life, as its siblings see it."""

    STARTING = 0
    SERVING = 1
    LEAVING = 2


@record
class InFlight:
    """A request that has not ended."""

    method: str
    path: str
    age: float  # seconds
    running: bool  # whether its application was running, and not waiting for anything


class _Number:
    """One aligned word, so that a reader never sees half of it: a count, at most MOST, or finite seconds."""

    def __init__(self, offset: int, form: struct.Struct = _WORD) -> None:
        self._offset = offset
        self._form = form

    def __get__(self, row: "Row", owner: object = None) -> float:
        number: float = self._form.unpack_from(row.memory, row.start + self._offset)[0]
        return number if 0 <= number <= MOST else 0

    def __set__(self, row: "Row", value: float) -> None:
        self._form.pack_into(row.memory, row.start + self._offset, value)


class Row:
    """The figures of one worker."""

    __slots__ = ("_free", "_page", "memory", "method", "name", "path", "set_handed_over", "since", "start")

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
    lag = _Number(_LAG, _TIME)  # seconds by which a beat was late at most in the last second
    running = _Number(_RUNNING)  # how many requests have begun, wait for something, and have not ended
    queued = _Number(_QUEUED)  # how many requests wait until another one has ended (`--limit-queue`)
    arriving = _Number(_ARRIVING)  # how many connections it has taken in that are not among those that are open yet
    reported = _Number(_REPORTED, _TIME)  # how loaded its application says it is: 0 for idle, 1 for nothing new
    told = _Number(_TOLD)  # 1 once the supervisor has told the worker to serve, 0 before; the supervisor writes it
    claim = _Number(_CLAIM)  # the number of the call of `Scoreboard.claim` that has made this row its worker's

    def __init__(self, memory: mmap.mmap, start: int) -> None:
        self.memory, self.start = memory, start
        self._page = VersionedPage(memory, _LIVE + start // _SIZE * PAGES, start + _VERSION)
        # The free places of the table, which only the worker that writes the row knows; None until it needs one.
        self._free: list[int] | None = None
        # See `Ledger`. To set `since` alone takes half the time of packing the whole cell (timeit, CPython 3.13).
        self.since = memoryview(memory)[start + _CELLS : start + _CELLS + _TIME.size].cast("d")
        self.name = partial(_CELL.pack_into, memory, start + _CELLS, 0.0)
        self.method, self.path = "", b""
        self.set_handed_over = partial(_WORD.pack_into, memory, start + _HANDED_OVER)  # in the same way

    @property
    def slot(self) -> int:
        """The number of the slot whose worker has this row, less than ROWS; -1 if nobody has it."""
        number: int = _WORD.unpack_from(self.memory, self.start + _SLOT)[0]
        return number - 1 if number <= ROWS else -1

    @property
    def counters(self) -> Counters:
        """What the worker has counted; its worker sets it."""
        return Counters.unpack(self._page.read())

    @counters.setter
    def counters(self, counters: Counters) -> None:
        self._page.write(counters.pack())

    @property
    def raw_counters(self) -> bytes:
        """`counters` as Counters.unpack takes them, which is cheaper to keep than to understand."""
        return self._page.read()

    def beaten_by(self, now: float) -> float:
        """When the event loop ran last (seconds, monotonic); 0 if the row claims a time after `now`."""
        beat = self.beat
        return beat if beat <= now else 0.0

    def late(self, now: float) -> float:
        """Return by how many seconds the event loop was late at most in the last second, or is at `now`."""
        beat = self.beaten_by(now)
        return max(self.lag, now - beat - BEAT) if beat else self.lag

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
        """Remove the request in a place that `enter` has returned, since it has ended. Place 0 is ignored."""
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
        self._memory = mmap.mmap(fd, _SERVICE + PAGES)
        self._taken: dict[int, tuple[int, int]] = {}  # the rows in use: the slot of each, and the number of its claim
        self._claims = 0  # how many rows were given to workers so far
        self._service = VersionedPage(self._memory, _SERVICE, _SERVICE_VERSION)

    @classmethod
    def create(cls) -> "Scoreboard":
        """Return a new scoreboard. Raises OSError."""
        fd = new_descriptor("corehttp-scoreboard")
        os.ftruncate(fd, stack_area.START + stack_area.SIZE)
        sticky_area.write_secret(fd, os.urandom(sticky_area.SECRET_SIZE))
        if sys.platform == "linux":
            # Seals keep its size, since a process that reads beyond the end is ended by SIGBUS (memfd_create(2)).
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
        self._claims += 1
        self._taken[number] = slot, self._claims
        self._set(_END, _SIZE * (max(self._taken) + 1))
        self._set(_SLOTS, max(self.slots, slot + 1))
        self._memory[number * _SIZE : (number + 1) * _SIZE] = bytes(_SIZE)
        VersionedPage(self._memory, _LIVE + number * PAGES, number * _SIZE + _VERSION).clear()
        self._set(number * _SIZE + _CLAIM, self._claims)
        self._set(number * _SIZE + _SLOT, slot + 1)
        return number

    def release(self, number: int) -> None:
        """Free the row of a worker that has ended, and keep what it has counted for its slot."""
        slot, claim = self._taken.pop(number)
        retired, _ = self._retired(slot)
        # From this write on the counters are those of the slot, and `counters` passes over those of the row.
        self._retired_page(slot).write(_WORD.pack(claim) + retired.plus(self.row(number).counters).pack())
        self._set(number * _SIZE + _SLOT, 0)
        self._set(_END, _SIZE * (max(self._taken, default=-1) + 1))

    def counters(self, slot: int) -> Counters:
        """Return what all workers that this slot has had so far have counted, those that run included.

        What a worker has counted since it wrote its row last, at most a second before, is missing. No count ever goes
        back, also if workers start and end meanwhile.
        """
        return self._counters(slot, [row for row in self.rows() if row.slot == slot])

    def totals(self) -> Counters:
        """Return what all workers have counted since the start of the service, as `counters` does for one slot."""
        return total(self.by_slot())

    def by_slot(self) -> list[Counters]:
        """Return what `counters` returns, for each slot that has had a worker, in their order."""
        rows: dict[int, list[Row]] = {}
        for row in self.rows():
            rows.setdefault(row.slot, []).append(row)
        return [self._counters(slot, rows.get(slot, [])) for slot in range(self.slots)]

    @property
    def slots(self) -> int:
        """How many slots have had a worker so far; they are numbered from 0."""
        return min(ROWS, int(_WORD.unpack_from(self._memory, _SLOTS)[0]))

    @property
    def service(self) -> ServiceCounters:
        """What the supervisor has counted; the supervisor sets it."""
        return ServiceCounters.unpack(self._service.read())

    @service.setter
    def service(self, counters: ServiceCounters) -> None:
        self._service.write(counters.pack())

    def row(self, number: int) -> Row:
        """The row of this number."""
        return Row(self._memory, number * _SIZE)

    def rows(self) -> Iterator[Row]:
        """The rows of all workers."""
        for start in self._starts():
            row = Row(self._memory, start)
            if row.slot >= 0:
                yield row

    def loads(self, now: float, patience: float, but: Row) -> Iterator[Load]:
        """The loads of all workers that serve, those that arrive included, without that of the row `but`.

        One counts as alive if its event loop has run in the last `patience` seconds before `now` (seconds, monotonic).
        No `Row` is made for it: that takes ten times as long, and workers look often (`worker.spreading`).
        """
        for start in self._starts():
            place, state, beat, connections, limit, running, arriving, said, _ = _LOAD.unpack_from(self._memory, start)
            if state == RowState.SERVING and 0 < place <= ROWS and start != but.start:
                yield Load(
                    place - 1,
                    min(connections, MOST) + min(arriving, MOST),
                    min(limit, MOST),
                    abs(now - beat) < patience,
                    min(running, MOST),
                    max(0.0, min(said, 1.0)),
                )

    def takers(self, now: float, patience: float, but: Row) -> set[int]:
        """Return the slots in which another worker than that of `but` takes connections, or will when one has left.

        A worker takes them as soon as it is told to serve, since what is put into its inbox waits there until it runs.
        None are taken by one that is full, or whose event loop has not run for `patience` seconds before `now`. A slot
        whose worker is replaced while the rows are read may be missing; it is there when they are read again.
        """
        taking, leaving, starting = set[int](), set[int](), set[int]()
        for start in self._starts():
            place, state, beat, connections, limit, _, arriving, _, told = _LOAD.unpack_from(self._memory, start)
            if state == RowState.LEAVING:
                leaving.add(place - 1)
            elif state == RowState.STARTING and not told:
                starting.add(place - 1)
            elif start != but.start and abs(now - beat) < patience and (not limit or connections + arriving < limit):
                taking.add(place - 1)
        return taking | (leaving & starting)

    def _starts(self) -> range:
        """Return the offsets of all rows that may be in use, within the memory whatever was written there."""
        return range(0, min(_END, _WORD.unpack_from(self._memory, _END)[0]), _SIZE)

    def close(self) -> None:
        """Close this process's view of the memory, and its descriptor. A `Row` that is held keeps the view."""
        with contextlib.suppress(BufferError):
            self._memory.close()
        os.close(self.fd)

    def _counters(self, slot: int, rows: list[Row]) -> Counters:
        """Return the counters of a slot, of which `rows` are all that a worker has had for a moment at least."""
        page, found = self._retired_page(slot), Counters()
        for _ in range(_ATTEMPTS):
            version = page.version
            retired, last = self._retired(slot)
            # The row that was added to the retired ones last may not be free yet.
            found = total([retired, *(row.counters for row in rows if row.slot == slot and row.claim != last)])
            if page.version == version:
                break
        return found

    def _retired(self, slot: int) -> tuple[Counters, int]:
        """Return what the workers of a slot that have ended have counted, and the claim of the last one of them."""
        content = self._retired_page(slot).read()
        return Counters.unpack(content[_WORD.size :]), _WORD.unpack_from(content)[0]

    def _retired_page(self, slot: int) -> VersionedPage:
        return VersionedPage(self._memory, _RETIRED + slot * PAGES, _RETIRED_VERSIONS + slot * _WORD.size)

    def _set(self, offset: int, word: int) -> None:
        _WORD.pack_into(self._memory, offset, word)


def _text(raw: bytes) -> str:
    """Return text that a log line can show. Dots mark one that fills its place, since its end may be missing."""
    text = raw.rstrip(b"\0")
    return printable(text.decode("latin-1")) + ("..." if len(text) == len(raw) else "")
