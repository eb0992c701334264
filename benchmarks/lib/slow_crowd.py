"""Slow clients, many of them: those who drip the head of a request, and those who never read their response."""

import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_REQUEST = b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\n"
_DRIP_EVERY = 0.5  # seconds
_DRIP = b"x: y\r\n"
_LOOK_EVERY = 0.02  # seconds


@dataclass(slots=True)
class Slow:
    """One kind of slow clients, and after how many seconds each was cut."""

    kind: str
    count: int
    cut: list[float] = field(default_factory=list)


class SlowCrowd:
    """Opens the connections; `hold` keeps them slow until each is cut."""

    def __init__(self, port: int, dripping: int, stalled: int) -> None:
        self.kinds = (Slow("slowloris", dripping), Slow("stalled reader", stalled))
        dripping_kind, stalled_kind = self.kinds
        self._open: dict[int, tuple[socket.socket, Slow, float]] = {}  # since when
        self._poll = select.poll()
        for _ in range(dripping):
            self._add(port, dripping_kind, _REQUEST % b"/", select.POLLIN)
        for _ in range(stalled):
            # It never reads: it is told only of a reset.
            self._add(port, stalled_kind, _REQUEST % b"/flood" + b"\r\n", 0)

    def _add(self, port: int, kind: Slow, request: bytes, events: int) -> None:
        began = time.monotonic()
        client = socket.create_connection(("127.0.0.1", port), timeout=10)
        client.sendall(request)
        client.setblocking(False)
        self._open[client.fileno()] = (client, kind, began)
        self._poll.register(client, events)

    def hold(self, seconds: float, look: Callable[[], None]) -> None:
        """Until all are cut, for so many seconds at most; calls `look` about twice a second."""
        end = time.monotonic() + seconds
        drip_at = time.monotonic()
        while self._open and (now := time.monotonic()) < end:
            if now >= drip_at:
                self._drip()
                look()
                drip_at += _DRIP_EVERY
            for descriptor, _ in self._poll.poll(_LOOK_EVERY * 1000):
                self._see(descriptor)

    def close(self) -> None:
        for client, _, _ in self._open.values():
            client.close()
        self._open.clear()

    def _drip(self) -> None:
        dripping = self.kinds[0]
        for descriptor, (client, kind, _) in tuple(self._open.items()):
            if kind is dripping:
                try:
                    client.send(_DRIP)
                except OSError:
                    self._end(descriptor)

    def _see(self, descriptor: int) -> None:
        client, _, _ = self._open[descriptor]
        try:
            while client.recv(65536):
                pass
        except BlockingIOError:
            return
        except OSError:
            pass
        self._end(descriptor)

    def _end(self, descriptor: int) -> None:
        client, kind, began = self._open.pop(descriptor)
        kind.cut.append(time.monotonic() - began)
        self._poll.unregister(descriptor)
        client.close()
