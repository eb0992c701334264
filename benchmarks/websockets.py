"""WebSockets: echo beside peers, what an idle one costs, and a feed that some never read.

Run it: python -m benchmarks.websockets
"""

import argparse
import random
import statistics
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
from benchmarks.lib.rounds import Round, Sample, Slice, visit, visit_in_rounds
from benchmarks.lib.running_server import RunningServer, StartError, free_port, running, stop_all
from benchmarks.lib.servers import FLOORS, Launch, peer_names, peer_of
from benchmarks.lib.table import aligned, megabytes, ratio
from benchmarks.lib.versions import describe, load_average
from benchmarks.lib.websocket_crowd import Aftermath, Crowd, Feed
from benchmarks.lib.websocket_load import EchoLoad
from benchmarks.lib.workloads import Workload

_OWN = "corehttp"
_PEERS = [_OWN, "uvicorn-sansio", "uvicorn-wsproto", "granian"]
_SIZES = (125, 1000, 16384)
_CONNECTIONS = (1, 50)
_MOST_BYTES = 20 * 1024  # of an idle WebSocket
_GREETING = 1024  # bytes: enough to be compressed
_FEED = Feed(messages=24, size=16384, gap=0.4, seconds=60.0)
_STALL = 3  # seconds
_MOST_BYTES_FED = 5 * 1024  # of any that is sent a feed: a task of the application, and its timer
# What one that never reads may cost the worker: what waits before send() does, a message, and objects.
_MOST_BYTES_STALLED = 2 * (65536 + 16384)

_ECHO_HEADER = ("server", "CPU us", "to best peer", "messages/s", "to best peer", "p99 ms", "server CPUs", "lost")
_FEED_HEADER = ("readers", "got all", "after s", "stalled", "cut", "send failed", "PSS before", "most", "after")

_METHOD = """\
Echo: one worker each, the servers' defaults, no access log, one text under way on each connection; {rounds} rounds of
{seconds} s for each size and number of connections, in random order, medians. CPU is that of the whole process tree for
each echo; the load generator, which counts bytes and decodes nothing, offers no compression.
Idle: WebSockets that had one text of {greeting} bytes echoed and stay open, without pings; bytes are the growth of the
server's PSS divided by their number, and the kernel's buffers are not in it.
Feed: {messages} texts of {size} bytes to all, one every {gap:g} s. The stalled ones never read, and are to be cut when
they have taken nothing for {stall} s; "send failed" counts those of which the application was told. PSS in MB."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if no message was lost, and idle, stalled and reading WebSockets were as they must be."""
    options = _parse(arguments)
    descriptors.allow(options.idle)
    print(f"load average {load_average()}; {place(1)}")
    try:
        sound = _echo(options.peers, options.rounds, options.seconds, random.Random(options.seed))
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


def _echo(names: Sequence[str], rounds: int, seconds: int, order: random.Random) -> bool:
    able = []
    for name in names:
        obstacle = peer_of(name).obstacle(WEBSOCKET)
        if obstacle is None:
            able.append(name)
        else:
            print(f"left out: {name}: {obstacle}")
    placement, workload = place(1), Workload(WEBSOCKET.name, WEBSOCKET)
    lost = 0
    with running(able, WEBSOCKET, 1, placement.server) as servers:
        for server in servers:
            server.wait_until_ready()
        for size in _SIZES:
            for connections in _CONNECTIONS:
                piece = Slice(EchoLoad(size), workload, connections, seconds, placement.load)
                for server in servers:  # what is compiled on first use is not measured
                    visit(server, Slice(piece.tool, workload, connections, 1, piece.cpus))
                done = visit_in_rounds(servers, piece, order, rounds=rounds)
                print(f"\nEcho of {size} bytes, connections: {connections}")
                print(aligned(_ECHO_HEADER, [_echo_cells(name, done) for name in able]))
                lost += sum(found[_OWN].socket_errors for found in done if _OWN in found)
    return not lost


def _echo_cells(name: str, rounds: Sequence[Round]) -> list[str]:
    cpu, rate = _median(rounds, name, "cpu_us"), _median(rounds, name, "requests_per_second")
    others = [other for other in rounds[0] if other not in (_OWN, *FLOORS)]
    least = min((_median(rounds, other, "cpu_us") for other in others), default=None)
    most = max((_median(rounds, other, "requests_per_second") for other in others), default=None)
    return [
        name,
        f"{cpu:.1f}",
        ratio(None if least is None else cpu / least),
        f"{rate:.0f}",
        ratio(None if most is None else rate / most),
        f"{_median(rounds, name, 'p99_ms'):.2f}",
        f"{_median(rounds, name, 'server_cpus'):.2f}",
        str(sum(found[name].socket_errors for found in rounds)),
    ]


def _median(rounds: Sequence[Round], name: str, figure: str) -> float:
    samples: list[Sample] = [found[name] for found in rounds]
    return statistics.median(float(getattr(sample, figure)) for sample in samples)


def _idle(number: int) -> bool:
    rows, sound = [], True
    for compression in ("off", "small", "full"):
        with _alone({"COREHTTP_WS_COMPRESSION": compression}) as server:
            with Crowd(server.port, 100, offer=True, greeting=_GREETING):  # what the first one brings is no part of it
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
    """One of ours with these options, ready, with no pings."""
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
        "--peers", type=peer_names, default=_PEERS, help="comma-separated; floor is what none can be below"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of each size and number of connections (default 3)")
    parser.add_argument("--seconds", type=int, default=1, help="of each visit (default 1)")
    parser.add_argument("--idle", type=int, default=10000, help="WebSockets, idle and fed (default 10000)")
    parser.add_argument("--stalled", type=int, default=100, help="of them that never read the feed (default 100)")
    parser.add_argument("--seed", type=int, default=1, help="of the order (default 1)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
