"""The files of prometheus_client: what ended processes have counted stays, their files do not."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key

from corehttp.admin import app_metrics
from corehttp.admin.app_metrics import AppMetrics
from corehttp.metrics_directory import JOURNAL

LIVE, GONE, GONE_TOO = 101, 202, 203


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The processes that run."""
    running = {LIVE}
    monkeypatch.setattr(app_metrics, "_runs", running.__contains__)
    return running


def write(directory: Path, file: str, values: dict[str, tuple[float, float]]) -> None:
    found = MmapedDict(str(directory / file))
    for name, (value, at) in values.items():
        metric = name.partition("{")[0].removesuffix("_total").removesuffix("_bucket").removesuffix("_sum")
        label = name.partition("{")[2].rstrip("}")
        labels = {"le": label} if label else {}
        key = mmap_key(metric, name.partition("{")[0], list(labels), list(labels.values()), "help")
        found.write_value(key, value, at)
    found.close()


def values(metrics: Iterable[Metric]) -> dict[str, float]:
    return {
        sample.name + "".join(f"{{{value}}}" for _, value in sorted(sample.labels.items())): sample.value
        for metric in metrics
        for sample in metric.samples
    }


def files(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def test_counts_of_ended_processes_are_kept_in_one_file_of_each_kind(tmp_path: Path) -> None:
    for pid, count in ((LIVE, 1.0), (GONE, 10.0), (GONE_TOO, 100.0)):
        write(tmp_path, f"counter_{pid}.db", {"jobs_total": (count, 0)})
        buckets = {"took_bucket{1.0}": (count, 0.0), "took_bucket{+Inf}": (count, 0.0), "took_sum": (count / 2, 0.0)}
        write(tmp_path, f"histogram_{pid}.db", buckets)
        write(tmp_path, f"summary_{pid}.db", {"size_sum": (count, 0)})
    found = values(AppMetrics(str(tmp_path)).collect())
    assert found["jobs_total"] == 111
    assert (found["took_bucket{1.0}"], found["took_bucket{+Inf}"], found["took_count"]) == (111, 222, 222)
    assert (found["took_sum"], found["size_sum"]) == (55.5, 111)
    assert files(tmp_path) == sorted(
        f"{kind}_{pid}.db" for kind in ("counter", "histogram", "summary") for pid in (0, LIVE)
    )


def test_nothing_goes_back_and_no_file_is_left_over_many_generations(tmp_path: Path, processes: set[int]) -> None:
    total = 0.0
    for generation in range(30):
        pid = 1000 + generation
        processes.add(pid)
        write(tmp_path, f"counter_{pid}.db", {"jobs_total": (generation, 0)})
        total += generation
        assert values(AppMetrics(str(tmp_path)).collect())["jobs_total"] == total
        processes.discard(pid)
        assert values(AppMetrics(str(tmp_path)).collect())["jobs_total"] == total
    assert files(tmp_path) == ["counter_0.db"]


def test_gauges_are_merged_as_they_say_or_end_with_their_process(tmp_path: Path) -> None:
    for pid, value, at in ((LIVE, 5.0, 20.0), (GONE, 3.0, 30.0), (GONE_TOO, 9.0, 10.0)):
        for mode in ("sum", "min", "max", "mostrecent", "all", "liveall", "livesum"):
            write(tmp_path, f"gauge_{mode}_{pid}.db", {f"g_{mode}": (value, at)})
    found = values(AppMetrics(str(tmp_path)).collect())
    assert (found["g_sum"], found["g_min"], found["g_max"], found["g_mostrecent"]) == (17, 3, 9, 3)
    assert found["g_livesum"] == 5
    assert {name: value for name, value in found.items() if "all" in name} == {"g_all{101}": 5, "g_liveall{101}": 5}


@pytest.mark.parametrize("renamed", [True, False])
def test_a_merge_that_was_broken_off_counts_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renamed: bool
) -> None:
    write(tmp_path, "counter_0.db", {"jobs_total": (1000, 0)})
    write(tmp_path, f"counter_{GONE}.db", {"jobs_total": (10, 0)})
    rename = os.rename

    def broken(old: str, new: str) -> None:
        if not old.endswith("counter_0.db.new"):
            rename(old, new)
            return
        if renamed:
            rename(old, new)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", broken)
        with pytest.raises(KeyboardInterrupt):
            AppMetrics(str(tmp_path)).prune()
    assert JOURNAL in files(tmp_path)
    assert values(AppMetrics(str(tmp_path)).collect())["jobs_total"] == 1010
    assert files(tmp_path) == ["counter_0.db"]


def test_a_file_that_holds_no_metrics_is_left_out_of_what_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / f"counter_{GONE}.db").write_bytes(struct.pack("i4xi", 64, 1000).ljust(100, b"\0"))
    broken = MmapedDict(str(tmp_path / f"summary_{GONE}.db"))
    broken.write_value("[1, 2]", 1, 0)
    broken.close()
    (tmp_path / f"histogram_{GONE}.db").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("kept")
    (tmp_path / "counter_x.db.bak").write_text("kept")
    assert AppMetrics(str(tmp_path)).collect() == []
    for kind in ("counter", "histogram", "summary"):
        assert f"{kind}_202.db holds no metrics, and is left out" in caplog.text
    assert {"notes.txt", "counter_x.db.bak"} < set(files(tmp_path))


@pytest.mark.parametrize("content", [b"", b"\0" * 3, b"\0" * 4096])
def test_a_file_that_is_just_being_made_holds_nothing_yet(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"counter_{LIVE}.db").write_bytes(content)
    write(tmp_path, f"summary_{LIVE}.db", {"size_sum": (1, 0)})
    assert values(AppMetrics(str(tmp_path)).collect()) == {"size_sum": 1}


def test_a_file_of_a_process_that_runs_and_holds_something_else_is_an_error(tmp_path: Path) -> None:
    (tmp_path / f"counter_{LIVE}.db").write_bytes(struct.pack("i4xi", 64, 1000).ljust(100, b"\0"))
    with pytest.raises(app_metrics.CORRUPT):
        AppMetrics(str(tmp_path)).collect()


def test_a_directory_that_is_gone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        AppMetrics(str(tmp_path / "nowhere")).collect()


def test_a_journal_that_names_other_files_removes_none_of_them(tmp_path: Path) -> None:
    write(tmp_path, "counter_0.db", {"jobs_total": (1, 0)})
    inode = (tmp_path / "counter_0.db").stat().st_ino
    (tmp_path / "precious").write_text("")
    journal = {"kept": "counter_0.db", "inode": inode, "merged": ["precious", "../precious", "counter_9.db"]}
    (tmp_path / JOURNAL).write_text(json.dumps(journal))
    AppMetrics(str(tmp_path)).prune()
    assert files(tmp_path) == ["counter_0.db", "precious"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kept": 5}', '{"kept": "a", "inode": "b", "merged": 1}'])
def test_a_journal_that_makes_no_sense_is_removed(tmp_path: Path, text: str) -> None:
    (tmp_path / JOURNAL).write_text(text)
    AppMetrics(str(tmp_path)).prune()
    assert files(tmp_path) == []


def test_it_is_the_kernel_that_says_which_processes_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert app_metrics._runs(child.pid)
    child.communicate()
    assert not app_metrics._runs(child.pid)
    assert app_metrics._runs(1)
    assert app_metrics._runs(1 << 80), "what is no process id belongs to none of ours"
