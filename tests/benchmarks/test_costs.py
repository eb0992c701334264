"""What the benchmark says of memory and of starts."""

import random

import pytest

from benchmarks.lib import footprint, starting
from benchmarks.lib.footprint import Footprint, Habit, MemoryReport, MemoryRow, measure_all, memory_text
from benchmarks.lib.process_tree import Memory
from benchmarks.lib.running_server import StartError
from benchmarks.lib.starting import START_WORKERS, Start, start_all, start_text
from benchmarks.lib.summary import Spread

IDLE = Footprint(Memory(15_000_000, 13_000_000), Memory(20_000_000, 18_000_000))


def test_memory_is_told_of_supervisor_worker_and_idle_connections() -> None:
    report = MemoryReport(Habit(), date="2026-01-01", load_average="0 0 0")
    report.rows = [
        MemoryRow("corehttp", IDLE, 5000, 0, 3500.4, 3400.0),
        MemoryRow("uvicorn", Footprint(None, IDLE.worker), 5000, 7, None, None),
    ]
    lines = memory_text(report).splitlines()
    assert lines[2].split() == ["corehttp", "15.0", "13.0", "20.0", "18.0", "5000", "0", "3,500", "3,400"]
    assert lines[3].split() == ["uvicorn", "-", "-", "20.0", "18.0", "5000", "7", "-", "-"]


def test_a_server_whose_memory_cannot_be_measured_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(name: str, habit: Habit) -> MemoryRow:
        if name == "uvicorn":
            raise StartError("uvicorn exited with 1")
        return MemoryRow(name, IDLE, 1, 0, 3500.0, 3400.0)

    monkeypatch.setattr(footprint, "measure", measure)
    monkeypatch.setattr("benchmarks.lib.descriptors.allow", lambda connections: None)
    report = measure_all(["uvicorn", "corehttp", "pm2-sync"], Habit())
    assert [row.name for row in report.rows] == ["corehttp"]
    assert report.failed == {"uvicorn": "uvicorn exited with 1"}
    assert report.left_out.keys() == {"pm2-sync"}
    assert "failed: uvicorn: uvicorn exited with 1" in memory_text(report)


def test_starts_are_repeated_in_random_order_and_the_first_of_each_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[tuple[str, int]] = []

    def start(name: str, workers: int) -> Start:
        made.append((name, workers))
        return Start(len(made) / 1000, 0.05)

    monkeypatch.setattr(starting, "start", start)
    report = start_all(["corehttp"], 3, random.Random(1))
    assert len(made) == 4 * len(START_WORKERS)
    assert made[:2] != made[2:4] or made[2:4] != made[4:6]
    assert [(row.name, row.workers, len(row.starts)) for row in report.rows] == [("corehttp", 1, 3), ("corehttp", 2, 3)]
    assert min(start.seconds for row in report.rows for start in row.starts) == 0.003
    assert report.rows[0].cpu_seconds == Spread(0.05, 0.05, 0.05)


def test_a_server_that_does_not_start_is_named_and_has_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(name: str, workers: int) -> Start:
        raise StartError(f"{name} exited with 3")

    monkeypatch.setattr(starting, "start", start)
    report = start_all(["corehttp"], 3, random.Random(1))
    assert report.rows == []
    assert report.failed == {"corehttp": "corehttp exited with 3"}
    assert "failed: corehttp exited with 3" in start_text(report)
