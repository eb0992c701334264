"""What the scoreboard says is what clients have counted: over reloads, scaling, and workers that are killed."""

import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corehttp.ipc.counters import Counters
from corehttp.ipc.scoreboard import Scoreboard
from tests.e2e.conftest import Start
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import HERE, ServerProcess, until
from tests.kit.verbs import done, environment, told, verb

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="the scoreboard is found by /proc"),
]

APP = ("counted_application:app", "--app-dir", str(HERE), "--port", "0", "--lifespan", "off", "--no-access-log")
PATHS = ("/200", "/200", "/200", "/404", "/500", "/503")
METHODS = ("GET", "GET", "POST", "DELETE")
CLIENTS = 4


@contextmanager
def scoreboard(server: ServerProcess) -> Iterator[Scoreboard]:
    """The scoreboard of a running service."""
    directory = Path(f"/proc/{server.pid}/fd")
    path, *_ = [path for path in directory.iterdir() if "corehttp-scoreboard" in os.readlink(path)]
    board = Scoreboard.adopt(os.open(path, os.O_RDWR))
    yield board
    board.close()


class Crowd:
    """Clients that ask without a pause, and count the answers that they get whole, by method and status."""

    def __init__(self, server: ServerProcess) -> None:
        self._port = server.port
        self.answers: Counter[tuple[str, int]] = Counter()
        self._lock = threading.Lock()
        self._leaving = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.leave()

    def leave(self) -> None:
        """End the clients, each after an answer."""
        self._leaving.set()
        for thread in self._threads:
            thread.join()

    @property
    def count(self) -> int:
        return self.answers.total()

    def more(self, answers: int = 200) -> None:
        """Wait until so many more answers have come."""
        before = self.count
        until(lambda: self.count >= before + answers, "answers")

    def _ask(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self._leaving.is_set():
            try:
                with RawConnection(self._port) as connection:
                    self._ask_over(connection, chance)
            except (OSError, EOFError):
                continue  # the worker was killed: the next connection goes to another one

    def _ask_over(self, connection: RawConnection, chance: random.Random) -> None:
        while not self._leaving.is_set():
            method, path = chance.choice(METHODS), chance.choice(PATHS)
            connection.send(f"{method} {path} HTTP/1.1", "host: 127.0.0.1", "content-length: 0", "")
            head, _ = connection.answer()
            with self._lock:
                self.answers[method, int(head.split()[1])] += 1


class Watch:
    """Looks at the scoreboard all the time, and notes whether a count of it ever goes back."""

    def __init__(self, board: Scoreboard) -> None:
        self._board = board
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.steps_back: list[tuple[str, float, float]] = []
        self.looks = 0

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._leaving.set()
        self._thread.join()

    def _look(self) -> None:
        before = figures(self._board.totals())
        while not self._leaving.is_set():
            now = figures(self._board.totals())
            self.steps_back += [(name, before[name], now[name]) for name in before if now.get(name, 0) < before[name]]
            before = now
            self.looks += 1
            time.sleep(0.001)


def figures(counters: Counters) -> dict[str, float]:
    """All counts, each by a name."""
    named: dict[str, float] = {f"{method} {status}": count for (method, status), count in counters.requests.items()}
    named |= {f"up to bucket {number}": count for number, count in enumerate(counters.duration.counts)}
    named |= {"received": counters.received, "sent": counters.sent, "accepted": counters.accepted}
    return {**named, "begun": counters.begun, "exceptions": counters.exceptions, "cpu": counters.cpu}


def test_what_clients_count_is_what_is_shown_over_a_reload_and_scaling(start: Start, runtime: Path) -> None:
    server = start(*APP, "--workers", "2", env=environment(runtime))
    with scoreboard(server) as board:
        with Watch(board) as watch, Crowd(server) as crowd:
            crowd.more()
            done(verb(runtime, "reload"))
            crowd.more()
            done(verb(runtime, "scale", "4"))
            crowd.more()
            done(verb(runtime, "scale", "1"))
            crowd.more()
            crowd.leave()
            until(lambda: board.totals().responses >= crowd.count, "the last tick")
        counters = board.totals()
        assert counters.requests == dict(crowd.answers)
        assert counters.begun == counters.duration.count == counters.queue_time.count == crowd.count
        faults = sum(count for (_, status), count in crowd.answers.items() if status == 500)
        assert (counters.exceptions, sum(counters.aborted.values()), sum(counters.refused.values())) == (faults, 0, 0)
        assert counters.errors == sum(count for (_, status), count in crowd.answers.items() if status >= 500)
        assert counters.accepted == CLIENTS, "each client has kept its connection"
        assert counters.handed_over == counters.taken_over > 0
        assert (watch.steps_back, watch.looks > 0) == ([], True)
        assert board.slots == 4
        service = until(lambda: board.service if board.service.exits["scale"] == 3 else None, "the last exit")
        assert (service.starts, service.exits["reload"], service.reloads_done) == (6, 2, 1)
    assert server.stop() == 0


def test_a_worker_that_is_killed_loses_what_it_has_counted_since_its_last_tick_alone(
    start: Start, runtime: Path
) -> None:
    server = start(*APP, "--workers", "2", env=environment(runtime))
    with scoreboard(server) as board, Watch(board) as watch:
        with Crowd(server) as crowd:
            crowd.more()
        until(lambda: board.totals().requests == dict(crowd.answers), "the last tick")
        for pid in [worker["pid"] for worker in told(runtime, "status")["workers"]]:
            os.kill(pid, signal.SIGKILL)
        until(lambda: board.service.exits["crash"] == 2, "the end of the workers")
        assert board.totals().requests == dict(crowd.answers)

        with Crowd(server) as others:
            others.more()
            [victim, *_] = [worker for worker in told(runtime, "status")["workers"] if worker["state"] == "serving"]
            [row] = [row for row in board.rows() if row.slot == victim["slot"] - 1]
            before, written = others.count, row.counters.cpu
            while row.counters.cpu == written:
                before = others.count
                time.sleep(0.001)
            os.kill(victim["pid"], signal.SIGKILL)
            until(lambda: board.service.exits["crash"] == 3, "the end of the worker")
            after = others.count
            others.more()
        wait_for_ticks(board)
        both = crowd.answers + others.answers
        # Of what was in flight, something may have been counted that the client has not got.
        assert -CLIENTS <= both.total() - board.totals().responses <= after - before + CLIENTS
        assert watch.steps_back == []
    assert server.stop() == 0


def wait_for_ticks(board: Scoreboard) -> None:
    """Wait until each worker has written what it has counted by now."""
    for row in board.rows():
        for _ in range(2):  # the first tick may have begun before
            written = row.counters.cpu
            until(lambda row=row, written=written: row.counters.cpu != written, "a tick")  # type: ignore[misc]
