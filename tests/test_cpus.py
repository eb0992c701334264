"""How many workers `auto` means, with control groups made of files."""

from pathlib import Path

import pytest

from corehttp.cpus import available_cpus, count_workers, cpu_quota


@pytest.mark.parametrize(
    ("wanted", "affinity", "quota", "count"),
    [
        ("1", 8, None, 1),
        ("12", 2, 0.5, 12),
        ("auto", 8, None, 8),
        ("auto", 1, None, 1),
        ("auto", 8, 2.0, 2),
        ("auto", 8, 1.5, 2),
        ("auto", 8, 0.1, 1),
        ("auto", 2, 64.0, 2),
        ("auto-1", 8, None, 7),
        ("auto-1", 1, None, 1),
        ("auto-9", 4, None, 1),
        ("auto/2", 8, None, 4),
        ("auto/2", 5, None, 2),
        ("auto/2", 1, None, 1),
        ("auto/2", 8, 3.0, 1),
    ],
)
def test_the_number_of_workers(wanted: str, affinity: int, quota: float | None, count: int) -> None:
    assert count_workers(wanted, affinity, quota)[0] == count


def test_the_reason_names_what_decided() -> None:
    assert count_workers("3", 8, None)[1] == "as asked"
    assert count_workers("auto", 8, None)[1] == "auto: 8 CPUs by affinity, no quota"
    assert count_workers("auto-1", 8, 2.5)[1] == "auto-1: 8 CPUs by affinity, a quota of 2.5 CPUs"


def test_at_least_one_cpu_is_available() -> None:
    assert available_cpus() >= 1


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class Groups:
    """A tree of control groups, and the file that says where a process is in it."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "cgroup"
        self.proc = directory / "self"

    def quota(self) -> float | None:
        return cpu_quota(self.proc, self.root)


@pytest.fixture
def groups(tmp_path: Path) -> Groups:
    return Groups(tmp_path)


def test_v2_reads_the_group_of_the_process(groups: Groups) -> None:
    write(groups.proc, "0::/system.slice/web.service\n")
    write(groups.root / "system.slice/web.service/cpu.max", "150000 100000\n")
    assert groups.quota() == 1.5


def test_v2_takes_the_least_of_all_groups_above(groups: Groups) -> None:
    write(groups.proc, "0::/a/b\n")
    write(groups.root / "a/b/cpu.max", "400000 100000\n")
    write(groups.root / "a/cpu.max", "200000 100000\n")
    write(groups.root / "cpu.max", "max 100000\n")
    assert groups.quota() == 2.0


def test_v2_in_a_container_reads_the_mount_itself(groups: Groups) -> None:
    write(groups.proc, "0::/\n")
    write(groups.root / "cpu.max", "50000 100000\n")
    assert groups.quota() == 0.5


def test_v2_with_a_path_from_outside_the_container_reads_the_mount_itself(groups: Groups) -> None:
    write(groups.proc, "0::/../../kubepods/pod1\n")
    write(groups.root / "cpu.max", "50000 100000\n")
    assert groups.quota() == 0.5


def test_v2_without_a_limit_has_no_quota(groups: Groups) -> None:
    write(groups.proc, "0::/a\n")
    write(groups.root / "a/cpu.max", "max 100000\n")
    assert groups.quota() is None


def test_v1_divides_the_quota_by_the_period(groups: Groups) -> None:
    write(groups.proc, "12:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n1:name=systemd:/docker/1\n")
    write(groups.root / "cpu/docker/1/cpu.cfs_quota_us", "300000\n")
    write(groups.root / "cpu/docker/1/cpu.cfs_period_us", "100000\n")
    assert groups.quota() == 3.0


def test_v1_may_be_mounted_under_the_names_of_its_controllers(groups: Groups) -> None:
    write(groups.proc, "4:cpu,cpuacct:/\n")
    write(groups.root / "cpu,cpuacct/cpu.cfs_quota_us", "50000\n")
    write(groups.root / "cpu,cpuacct/cpu.cfs_period_us", "100000\n")
    assert groups.quota() == 0.5


def test_v1_says_minus_one_for_no_limit(groups: Groups) -> None:
    write(groups.proc, "4:cpu:/\n")
    write(groups.root / "cpu/cpu.cfs_quota_us", "-1\n")
    write(groups.root / "cpu/cpu.cfs_period_us", "100000\n")
    assert groups.quota() is None


def test_both_versions_side_by_side_are_both_read(groups: Groups) -> None:
    write(groups.proc, "4:cpu:/web\n0::/web\n")
    write(groups.root / "cpu/web/cpu.cfs_quota_us", "400000\n")
    write(groups.root / "cpu/web/cpu.cfs_period_us", "100000\n")
    write(groups.root / "unified/web/cpu.max", "200000 100000\n")
    assert groups.quota() == 2.0


@pytest.mark.parametrize("text", ["", "garbage\n", "1\n", "0 0 0\n", "x 100000\n"])
def test_what_cannot_be_understood_is_no_quota(groups: Groups, text: str) -> None:
    write(groups.proc, "0::/\n")
    write(groups.root / "cpu.max", text)
    assert groups.quota() is None


def test_without_control_groups_there_is_no_quota(groups: Groups) -> None:
    assert groups.quota() is None
