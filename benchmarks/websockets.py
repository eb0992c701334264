"""WebSockets: echo beside peers, what an idle one costs, and a feed that some never read.

Run it: python -m benchmarks.websockets
"""

import argparse
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.lib import descriptors
from benchmarks.lib.applications import WEBSOCKET
from benchmarks.lib.load import LoadError
from benchmarks.lib.placement import place
from benchmarks.lib.process_tree import tree_pss
from benchmarks.lib.report import section_text
from benchmarks.lib.running_server import RunningServer, StartError, free_port, stop_all
from benchmarks.lib.servers import Launch, peer_names
from benchmarks.lib.suite import Pace, Section, run_suite
from benchmarks.lib.table import aligned, megabytes
from benchmarks.lib.versions import describe, load_average
from benchmarks.lib.websocket_crowd import Aftermath, Crowd, Feed
from benchmarks.lib.websocket_load import EchoLoad
from benchmarks.lib.workloads import WORKLOADS

_OWN = "corehttp"
_PEERS = [_OWN, "uvicorn-sansio", "uvicorn-wsproto", "granian"]
_MOST_CONNECTIONS = 1000  # more than any workload has of its own
_MOST_BYTES = 20 * 1024  # that an idle WebSocket may take
_GREETING = 1024  # bytes, enough to be compressed
_FEED = Feed(messages=24, size=16384, gap=0.4, seconds=60.0)
_STALL = 3  # seconds after which a client that reads nothing is cut
_MOST_BYTES_FED = 5 * 1024  # that a WebSocket may take during a feed, for a task of the application and its timer
# Bytes that a client which never reads may cost: what waits until send() does, a message, and objects.
_MOST_BYTES_STALLED = 2 * (65536 + 16384)

_FEED_HEADER = ("readers", "got all", "after s", "stalled", "cut", "send failed", "PSS before", "most", "after")

_METHOD = """\
Echo (websocket-BYTES-CONNECTIONS): one worker each, the servers' defaults, no access log, one text under way on each
connection; medians of {rounds} rounds of {seconds} s, in random order. CPU is that of the whole process tree for each
echo; ratios are to the first of uvicorn's, within each round. The load generator, which counts bytes and decodes
nothing, offers no compression.
Idle: WebSockets that had one text of {greeting} bytes echoed and stay open, without pings; bytes are the growth of the
server's PSS divided by their number, and the kernel's buffers are not in it.
Feed: {messages} texts of {size} bytes to all, one every {gap:g} s. The stalled ones never read, and are to be cut when
they have taken nothing for {stall} s; "send failed" counts those of which the application was told. PSS in MB."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns 0 if no message was lost and idle, stalled and reading WebSockets were as promised."""
    options = _parse(arguments)
    descriptors.allow(options.idle)
    print(f"load average {load_average()}; {place(1)}")
    try:
        pace = Pace(options.rounds, _MOST_CONNECTIONS, options.seconds, 0.5)
        sound = _echo(options.peers, pace, random.Random(options.seed))
        sound &= _idle(options.idle)
        sound &= _fed(options.idle - options.stalled, options.stalled)
    except (StartError, LoadError, OSError) as failure:
        print(f"failed: {failure}")
        return 1
    print(
        "\n"
        + _METHOD.format(
            rounds=options.rounds,
            seconds=options.seconds,
            greeting=_GREETING,
            messages=_FEED.messages,
            size=_FEED.size,
            gap=_FEED.gap,
            stall=_STALL,
        )
    )
    print("\nVersions\n" + "\n".join(f"  {name}: {version}" for name, version in describe([]).items()))
    return 0 if sound else 1


def _echo(names: Sequence[str], pace: Pace, order: random.Random) -> bool:
    """Print a comparison for each size and number of connections; returns whether corehttp lost none."""
    sections = [
        Section(workload.name, workload.name, tuple(names), EchoLoad.name)
        for workload in WORKLOADS.values()
        if workload.is_websocket
    ]
    sound = True
    for report in run_suite(sections, pace, order):
        print("\n" + section_text(report, pace), flush=True)
        sound &= _OWN not in report.failed
        sound &= not any(each[_OWN].socket_errors for each in report.rounds if _OWN in each)
    return sound


def _idle(number: int) -> bool:
    rows, sound = [], True
    for compression in ("off", "small", "full"):
        with _alone({"COREHTTP_WS_COMPRESSION": compression}) as server:
            with Crowd(server.port, 100, offer=True, greeting=_GREETING):  # so that what is loaded once is not measured
                pass
            before = tree_pss(server.pid)
            with Crowd(server.port, number, offer=True, greeting=_GREETING) as crowd:
                each = (tree_pss(server.pid) - before) / number
                closed = crowd.closed()
        rows.append([compression, str(number), str(closed), f"{each:.0f}"])
        sound &= not closed and (compression == "full" or each <= _MOST_BYTES)
    print("\nIdle WebSockets\n" + aligned(("compression", "open", "closed", "bytes each"), rows))
    return sound


def _fed(readers: int, stalled: int) -> bool:
    with (
        _alone({"COREHTTP_TIMEOUT_WRITE_STALL": str(_STALL)}) as server,
        Crowd(server.port, readers, stalled) as crowd,
    ):
        found = crowd.feed(server.pid, _FEED)
    memory = map(megabytes, (found.before, found.most, found.after))
    counts = [str(readers), str(found.served), f"{found.seconds:.1f}", str(stalled), str(found.cut), str(found.failed)]
    print("\nA feed to all\n" + aligned(_FEED_HEADER, [[*counts, *memory]]))
    return _is_sound(found, readers, stalled)


def _is_sound(found: Aftermath, readers: int, stalled: int) -> bool:
    bound = _MOST_BYTES_FED * (readers + stalled) + _MOST_BYTES_STALLED * stalled
    return (
        found.members == readers + stalled
        and found.served == readers
        and found.cut == stalled
        and found.most - found.before <= bound
    )


@contextmanager
def _alone(environment: Mapping[str, str]) -> Iterator[RunningServer]:
    """Run corehttp with these variables in its environment and without pings, and wait until it is ready."""
    with TemporaryDirectory(prefix="corehttp-bench-") as folder:
        options = {"COREHTTP_WS_PING_INTERVAL": "0", **environment}
        server = RunningServer(_OWN, Launch(WEBSOCKET, free_port()), place(1).server, Path(folder, "output"), options)
        try:
            server.wait_until_ready()
            yield server
        finally:
            stop_all([server])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.websockets", description=__doc__)
    parser.add_argument(
        "--peers", type=peer_names, default=_PEERS, help="comma-separated; floor answers without a server's work"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of each size and number of connections (default 3)")
    parser.add_argument("--seconds", type=int, default=1, help="of each visit (default 1)")
    parser.add_argument("--idle", type=int, default=10000, help="WebSockets, idle and fed (default 10000)")
    parser.add_argument("--stalled", type=int, default=100, help="of them that never read the feed (default 100)")
    parser.add_argument("--seed", type=int, default=1, help="of the order (default 1)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
