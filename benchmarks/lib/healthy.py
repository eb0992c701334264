"""One healthy client with a keep-alive connection, in a process of its own: how long its requests take."""

import socket
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from types import TracebackType
from typing import Self

from benchmarks.lib.applications import CENSUS

_INTERVAL = 0.002  # seconds from one request to the next
_REQUEST = f"GET {CENSUS.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


@dataclass(frozen=True, slots=True)
class Latencies:
    """What requests took, in milliseconds, in ascending order."""

    values: Sequence[float]

    def percentile(self, percent: float) -> float:
        return self.values[min(len(self.values) - 1, int(len(self.values) * percent / 100))]


class HealthyClient:
    """A process that asks steadily; as a context manager it ends the process."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._process = ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    def __enter__(self) -> Self:
        self._process.submit(ask_steadily, self._port, 0.2).result()  # so that its code is warm
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.shutdown(cancel_futures=True)

    def ask(self, seconds: float) -> "Future[Latencies]":
        """Let the process ask for so many seconds from now on, and return what its requests will have taken."""
        return self._process.submit(ask_steadily, self._port, seconds)


def ask_steadily(port: int, seconds: float) -> Latencies:
    """Ask every two milliseconds, or as soon as there is an answer; raises OSError when a request fails."""
    latencies: list[float] = []
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.perf_counter() + seconds
        while (began := time.perf_counter()) < end:
            connection.sendall(_REQUEST)
            answer = connection.recv(65536)
            took = time.perf_counter() - began
            if not (answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(CENSUS.body)):
                raise ConnectionError(f"the healthy client got {answer!r}")
            latencies.append(took * 1000)
            time.sleep(max(0.0, _INTERVAL - took))
    return Latencies(sorted(latencies))
