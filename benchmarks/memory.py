"""What an idle server and an idle keep-alive connection cost in memory: `python -m benchmarks.memory`."""

import argparse
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.lib import descriptors
from benchmarks.lib.applications import APPLICATIONS
from benchmarks.lib.placement import place
from benchmarks.lib.process_tree import Memory, memory, tree
from benchmarks.lib.running_server import RunningServer, StartError, running
from benchmarks.lib.servers import peer_names, peer_of
from benchmarks.lib.table import aligned, megabytes
from benchmarks.lib.versions import describe

# Longer than the measurement: otherwise the first connections are closed while the last are opened.
_KEEP_ALIVE_SECONDS = 120
_MEASURABLE = ("corehttp", "uvicorn", "hypercorn")
_HEADER = ("server", "supervisor PSS", "private", "worker PSS", "private", "connections", "closed", "bytes/connection")

_METHOD = """\
Memory in MB. The servers run one after the other, each with one worker, on the hello application; idle figures are
taken after {warm_up} requests. PSS counts a page shared by n processes as 1/n, and this script shares the interpreter's
pages; "private" counts only what no other process maps. A server without a supervisor has one process.
bytes/connection is the growth of the worker's PSS over {connections} connections that did one request each and stay
open, divided by their number; the kernel's socket buffers are not in it. "closed" ones the server closed meanwhile."""


@dataclass(frozen=True, slots=True)
class Footprint:
    supervisor: Memory | None  # None: the worker is the main process
    worker: Memory


@dataclass(frozen=True, slots=True)
class Measurement:
    name: str
    idle: Footprint
    loaded: Footprint
    connections: int
    closed: int

    @property
    def bytes_per_connection(self) -> float:
        return (self.loaded.worker.pss - self.idle.worker.pss) / max(1, self.connections - self.closed)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    descriptors.allow(options.connections)
    measurements: list[Measurement] = []
    sound = True
    for name in options.peers:
        obstacle = _obstacle(name)
        if obstacle is not None:
            print(f"left out: {name}: {obstacle}")
            continue
        try:
            measurements.append(measure(name, options.connections, options.warm_up))
        except (StartError, OSError) as failure:
            print(f"failed: {name}: {failure}")
            sound = sound and name != "corehttp"
    print(aligned(_HEADER, [_cells(measurement) for measurement in measurements]))
    print("\n" + _METHOD.format(connections=options.connections, warm_up=options.warm_up))
    print("\nVersions\n" + "\n".join(f"  {name}: {version}" for name, version in describe([]).items()))
    return 0 if sound else 1


def measure(name: str, connections: int, warm_up: int) -> Measurement:
    """One server, idle and with idle connections; raises StartError, and OSError when a connection fails."""
    with running([name], APPLICATIONS["hello"], 1, place(1).server, _KEEP_ALIVE_SECONDS) as (server,):
        server.wait_until_ready()
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            for _ in range(warm_up):
                _request(connection, server)
        idle = footprint(server.pid)
        with ExitStack() as stack:
            opened = [stack.enter_context(_connect(server)) for _ in range(connections)]
            loaded = footprint(server.pid)
            closed = sum(map(_is_closed, opened))
    return Measurement(name, idle, loaded, connections, closed)


def _obstacle(name: str) -> str | None:
    if name not in _MEASURABLE:
        return f"only {', '.join(_MEASURABLE)} let one choose how long a connection may idle"
    return peer_of(name).obstacle(APPLICATIONS["hello"])


def footprint(main_pid: int) -> Footprint:
    """The main process apart from its children, which are the worker and whatever helps it."""
    children = [memory(process.pid) for process in tree(main_pid) if process.pid != main_pid]
    if not children:
        return Footprint(None, memory(main_pid))
    worker = Memory(sum(child.pss for child in children), sum(child.private for child in children))
    return Footprint(memory(main_pid), worker)


def _connect(server: RunningServer) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    _request(connection, server)
    return connection


def _request(connection: socket.socket, server: RunningServer) -> None:
    connection.sendall(f"GET {server.application.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    received = b""
    while not received.endswith(server.application.body):
        part = connection.recv(65536)
        if not part:
            raise ConnectionResetError(f"{server.name} closed a connection after {received!r}")
        received += part


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _cells(measurement: Measurement) -> list[str]:
    supervisor, worker = measurement.idle.supervisor, measurement.idle.worker
    return [
        measurement.name,
        *(["-", "-"] if supervisor is None else [megabytes(supervisor.pss), megabytes(supervisor.private)]),
        megabytes(worker.pss),
        megabytes(worker.private),
        str(measurement.connections),
        str(measurement.closed),
        f"{measurement.bytes_per_connection:,.0f}",
    ]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--peers", type=peer_names, default=["corehttp", "uvicorn"], help="comma-separated")
    parser.add_argument("--connections", type=int, default=5000, help="idle connections (default 5000)")
    parser.add_argument("--warm-up", type=int, default=200, help="requests before anything is measured (default 200)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
