"""A job that runs in one worker: it goes on over reloads and the deaths of leaders, and never runs twice at once."""

import json
import os
import random
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import ROOT, until

pytestmark = pytest.mark.e2e

EXAMPLE = ("examples.periodic_job:app", "--app-dir", str(ROOT), "--port", "0")


class Journal:
    """What the jobs have written, and which of the processes the test has killed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.killed: set[int] = set()

    def entries(self) -> list[tuple[str, int]]:
        """What has happened, and in which process, in order."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        return [(line.split()[0], int(line.split()[1])) for line in lines]

    def wait_for_runs(self, count: int) -> int:
        """Wait until the job has begun so many times more; return the process of the last one."""
        before = len(self.entries())

        def look() -> bool:
            return sum(what == "began" for what, _ in self.entries()[before:]) >= count

        until(look, "the job")
        return [pid for what, pid in self.entries() if what == "began"][-1]

    def check(self) -> None:
        """Assert that each run has ended before the next one began, unless its process was killed meanwhile."""
        running = 0
        for what, pid in self.entries():
            if what == "began":
                assert running in (0, *self.killed), f"{pid} begins while {running} runs"
                running = pid
            else:
                assert running == pid
                running = 0


def environment(tmp_path: Path) -> dict[str, str]:
    return {"JOB_FILE": str(tmp_path / "journal"), "JOB_EVERY": "0.05"}


@pytest.mark.feature
def test_a_job_goes_on_over_a_reload_and_the_death_of_the_leader(start: Start, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    server = start(*EXAMPLE, "--workers", "2", env=environment(tmp_path))
    first = journal.wait_for_runs(2)
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded")
    leader = journal.wait_for_runs(2)
    assert leader != first
    leads: dict[int, bool] = {}

    def ask() -> bool:
        with RawConnection(server.port) as client:
            answer = json.loads(client.get("/")[1])
        leads[answer["worker"]] = answer["leads"]
        return len(leads) == 2

    until(ask, "an answer of each worker")
    assert sorted(leads.values()) == [False, True]
    os.kill(leader, signal.SIGKILL)
    journal.killed.add(leader)
    assert journal.wait_for_runs(2) != leader
    assert server.stop() == 0
    journal.check()


def test_no_two_jobs_run_at_once_while_workers_are_replaced_and_leaders_die(start: Start, tmp_path: Path) -> None:
    journal, chance = Journal(tmp_path / "journal"), random.Random(1)
    server = start(*EXAMPLE, "--workers", "3", env=environment(tmp_path))
    for reloads in range(1, 7):
        leader = journal.wait_for_runs(1)
        server.signal(signal.SIGHUP)
        if chance.random() < 0.5:  # in the middle of the reload
            journal.wait_for_runs(1)
        else:
            server.wait_for_log("reloaded|the reload has failed", reloads)
            leader = journal.wait_for_runs(1)
        if leader in server.worker_pids():
            journal.killed.add(leader)
            os.kill(leader, signal.SIGKILL)
        server.wait_for_log("reloaded|the reload has failed", reloads)
        until(lambda: len(server.worker_pids()) == 3, "full strength")
    journal.wait_for_runs(3)
    assert server.stop() == 0
    journal.check()
    assert {pid for _, pid in journal.entries()} > journal.killed


def test_the_time_of_the_next_run_outlives_the_leader(start: Start, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    server = start(*EXAMPLE, env=environment(tmp_path) | {"JOB_EVERY": "3600"})
    until(lambda: len(journal.entries()) == 2, "the whole run")
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded")
    assert server.stop() == 0
    assert len(journal.entries()) == 2
