"""What a server's whole process tree uses: CPU time and memory, as the kernel accounts for them."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

_NANOSECONDS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the machine, as /proc/PID/stat shows it (proc(5))."""

    pid: int
    parent: int
    session: int
    started: int  # clock ticks since boot; with the pid it identifies a process
    reaped_ticks: int  # CPU time of its children that have exited and were waited for


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a process, in bytes."""

    pss: int  # bytes; a page shared by n processes counts 1/n in each
    private: int  # bytes; pages that no other process maps


def tree(root: int) -> list[Process]:
    """Return `root`, its descendants, and all others of the session that `root` leads, whose parents may have died."""
    processes = {process.pid: process for process in _processes()}
    return [process for process in processes.values() if process.session == root or _descends(process, root, processes)]


def is_alive(process: Process) -> bool:
    found = _read_process(process.pid)
    return found is not None and found.started == process.started


def cpu_nanoseconds(root: int) -> int:
    """Return the CPU time that the tree has used so far, with threads that ended and children that were reaped."""
    return sum(
        own_cpu_nanoseconds(process.pid) + process.reaped_ticks * _NANOSECONDS_PER_TICK for process in tree(root)
    )


def memory(pid: int) -> Memory:
    """Return the memory of one process, or zero when it has exited."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return Memory(0, 0)
    kilobytes = {key: int(value.split()[0]) for key, _, value in (line.partition(":") for line in lines)}
    return Memory(kilobytes["Pss"] * 1024, (kilobytes["Private_Clean"] + kilobytes["Private_Dirty"]) * 1024)


def tree_pss(root: int) -> int:
    return sum(memory(process.pid).pss for process in tree(root))


def cpus_of(root: int) -> set[int]:
    """Return the CPUs that the processes of the tree may run on."""
    cpus: set[int] = set()
    for process in tree(root):
        try:
            cpus |= os.sched_getaffinity(process.pid)
        except ProcessLookupError:
            continue
    return cpus


def machine_busy_nanoseconds() -> int:
    """Return the CPU time of everything on this machine since boot, with time that its host has stolen."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) * _NANOSECONDS_PER_TICK


def _processes() -> list[Process]:
    pids = (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdecimal())
    return [process for process in map(_read_process, pids) if process is not None]


def _read_process(pid: int) -> Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # proc(5): the second field, the name, may contain spaces and brackets; the third is the first after the last ")".
    fields = stat.rpartition(")")[2].split()
    return Process(pid, int(fields[1]), int(fields[3]), int(fields[19]), int(fields[13]) + int(fields[14]))


def _descends(process: Process, root: int, processes: dict[int, Process]) -> bool:
    seen: set[int] = set()  # /proc is not read at one moment, so that a reused pid could close a circle
    pid = process.pid
    while pid in processes and pid not in seen:
        if pid == root:
            return True
        seen.add(pid)
        pid = processes[pid].parent
    return False


def own_cpu_nanoseconds(pid: int) -> int:
    """Return the CPU time that one process has used so far, or zero when it has exited."""
    # clock_getcpuclockid(3) as the kernel encodes it: exact to the nanosecond, where /proc/PID/stat has ticks of 10 ms.
    try:
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError:
        return 0
