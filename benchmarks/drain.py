"""Which requests survive the end of a server: `python -m benchmarks.drain`."""

import argparse
import asyncio
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.lib import descriptors
from benchmarks.lib.accounting import Account, Fate, Streams, ask, connect
from benchmarks.lib.applications import SLEEPING
from benchmarks.lib.placement import place
from benchmarks.lib.running_server import RunningServer, StartError, free_port, stop_all
from benchmarks.lib.servers import Launch, peer_names, peer_of
from benchmarks.lib.sleeping_app import STARTED_FILE
from benchmarks.lib.table import aligned
from benchmarks.lib.versions import describe

_OWN = "corehttp"
_PATIENCE = 20.0  # seconds beyond the sleep in which an answer and the exit must come
_OPENED_AT_ONCE = 50  # connections, fewer than any server's backlog
_LATECOMERS = 200
_LATECOMER_INTERVAL = 0.02

_HEADER = ("server", "requests", "begun", "early", "answered", "refused", "lost")
_LATE_HEADER = ("late answered", "refused", "lost", "exit after s", "exit code")

_METHOD = """\
{requests} connections are opened, each sends one request, and the application sleeps {sleep:g} s in each. Once all have
begun (or {patience:.0f} s have passed; "begun" says how many had) the main process gets SIGTERM. "early" were answered
before it; of the others, "answered" got a complete 200, "refused" another status, "lost" no complete answer at all.
"late" are new connections, one every {interval:.0f} ms from SIGTERM to the exit, each with one request without a sleep:
refused ones could not connect, lost ones could, and got no answer. A negative exit code is the signal that ended it."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What each server is put through."""

    requests: int
    sleep: float  # seconds
    workers: int


@dataclass(frozen=True, slots=True)
class Drain:
    """What became of the requests of one server that was told to stop."""

    name: str
    begun: int
    early: int
    fates: Counter[Fate]
    late: Counter[Fate]
    seconds: float  # from SIGTERM to the exit
    exit_code: int | None  # None where the server had to be killed


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns 0 if corehttp answered every request that was in flight."""
    options = _parse(arguments)
    trial = Trial(options.requests, options.sleep, options.workers)
    descriptors.allow(trial.requests)
    drains: list[Drain] = []
    sound = True
    for name in options.peers:
        obstacle = peer_of(name).obstacle(SLEEPING)
        if obstacle is not None:
            print(f"left out: {name}: {obstacle}")
            continue
        try:
            drains.append(drained(name, trial))
        except (StartError, OSError) as failure:
            print(f"failed: {name}: {failure}")
            sound = sound and name != _OWN
    print(aligned((*_HEADER, *_LATE_HEADER), [_cells(drain, trial) for drain in drains]))
    interval = _LATECOMER_INTERVAL * 1000
    print("\n" + _METHOD.format(requests=trial.requests, sleep=trial.sleep, patience=_PATIENCE, interval=interval))
    print("\nVersions\n" + "\n".join(f"  {name}: {version}" for name, version in describe([]).items()))
    return 0 if sound and all(map(_is_sound, drains)) else 1


def drained(name: str, trial: Trial) -> Drain:
    """Measure one server from its start to its exit; raises StartError, and OSError when it takes no requests."""
    with TemporaryDirectory(prefix="corehttp-bench-") as folder:
        started = Path(folder, "started")
        started.touch()
        launch = Launch(SLEEPING, free_port(), trial.workers)
        server = RunningServer(
            name, launch, place(trial.workers).server, Path(folder, "output"), {STARTED_FILE: str(started)}
        )
        try:
            server.wait_until_ready()
            return asyncio.run(_drain(server, started, trial))
        finally:
            stop_all([server])


async def _drain(server: RunningServer, started: Path, trial: Trial) -> Drain:
    opened = await _open(server.port, trial.requests)
    target = f"/?{trial.sleep}"
    asked = [asyncio.create_task(ask(streams, target, trial.sleep + _PATIENCE)) for streams in opened]
    begun = await _begun(started, trial.requests)
    terminated = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    late = asyncio.create_task(_latecomers(server))
    exit_code = await _exit_code(server.process, trial.sleep + _PATIENCE)
    seconds = time.monotonic() - terminated
    accounts = await asyncio.gather(*asked)
    in_flight = [account for account in accounts if not _is_early(account, terminated)]
    return Drain(
        name=server.name,
        begun=begun,
        early=len(accounts) - len(in_flight),
        fates=Counter(account.fate for account in in_flight),
        late=await late,
        seconds=seconds,
        exit_code=exit_code,
    )


async def _open(port: int, number: int) -> list[Streams]:
    opened: list[Streams] = []
    while len(opened) < number:
        batch = min(_OPENED_AT_ONCE, number - len(opened))
        for streams in await asyncio.gather(*(connect(port) for _ in range(batch))):
            if streams is None:
                raise ConnectionRefusedError(f"refused after {len(opened)} connections")
            opened.append(streams)
    return opened


async def _begun(started: Path, wanted: int) -> int:
    """Wait until all requests sleep in the application, for _PATIENCE seconds at most, and return how many do."""
    deadline = time.monotonic() + _PATIENCE
    while (begun := _size(started)) < wanted and time.monotonic() < deadline:
        await asyncio.sleep(0.005)
    return begun


def _size(path: Path) -> int:
    return path.stat().st_size


async def _latecomers(server: RunningServer) -> Counter[Fate]:
    fates: Counter[Fate] = Counter()
    while server.process.poll() is None and fates.total() < _LATECOMERS:
        fates[await _latecomer(server.port)] += 1
        await asyncio.sleep(_LATECOMER_INTERVAL)
    return fates


async def _latecomer(port: int) -> Fate:
    try:
        streams = await connect(port)
    except OSError:
        return Fate.LOST
    return Fate.REFUSED if streams is None else (await ask(streams, "/", _PATIENCE)).fate


async def _exit_code(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        await asyncio.sleep(0.005)
    return process.returncode


def _is_sound(drain: Drain) -> bool:
    return drain.name != _OWN or not (drain.fates[Fate.LOST] or drain.fates[Fate.REFUSED])


def _is_early(account: Account, terminated: float) -> bool:
    return account.fate is Fate.ANSWERED and account.at < terminated


def _cells(drain: Drain, trial: Trial) -> list[str]:
    fates = [drain.fates[fate] for fate in (Fate.ANSWERED, Fate.REFUSED, Fate.LOST)]
    late = [drain.late[fate] for fate in (Fate.ANSWERED, Fate.REFUSED, Fate.LOST)]
    counts = [trial.requests, drain.begun, drain.early, *fates, *late]
    exit_code = "killed" if drain.exit_code is None else str(drain.exit_code)
    return [drain.name, *map(str, counts), f"{drain.seconds:.2f}", exit_code]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drain", description=__doc__)
    parser.add_argument("--peers", type=peer_names, default=["corehttp", "uvicorn"], help="comma-separated")
    parser.add_argument("--requests", type=int, default=1000, help="in flight at SIGTERM (default 1000)")
    parser.add_argument("--sleep", type=float, default=1.0, help="seconds of each request (default 1)")
    parser.add_argument("--workers", type=int, default=1, help="of each server (default 1)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
