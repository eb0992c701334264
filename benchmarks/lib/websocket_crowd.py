"""Many WebSockets from one process: idle ones, and a feed to all of them that some never read."""

import http.client
import json
import selectors
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Thread
from types import TracebackType

from benchmarks.lib.process_tree import tree_pss
from benchmarks.lib.websocket_load import echo_size, masked_text, shake_hands

OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"

_SECONDS = 10.0  # that one connection waits for anything
_SAMPLE = 0.2  # seconds between two looks at the server's memory
_MSS = 536  # bytes; the kernel keeps less of what a stalled client does not read when segments are small
_PIECE = bytearray(2**18)


@dataclass(frozen=True, slots=True)
class Feed:
    """Messages that the server sends to every WebSocket."""

    messages: int
    size: int  # characters of each message
    gap: float  # seconds between two messages
    seconds: float  # in which the feed must end

    @property
    def bytes(self) -> int:
        """Bytes of all frames that each client gets."""
        return self.messages * echo_size(self.size)


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What came of a feed."""

    members: int  # WebSockets when the feed began
    failed: int  # WebSockets whose `send` failed
    served: int  # readers that got every byte
    cut: int  # stalled clients that the server has cut
    seconds: float  # until the last reader had all
    before: int  # bytes of PSS before the feed
    most: int  # bytes of PSS at most, during the feed
    after: int


class Crowd:
    """Opened WebSockets of which the last `stalled` never read; a context manager, which closes them.

    With `offer` they offer permessage-deflate. Each has had a message of `greeting` bytes echoed, if that is not 0.
    """

    def __init__(self, port: int, readers: int, stalled: int = 0, *, offer: bool = False, greeting: int = 0) -> None:
        self._port = port
        self._offer = offer
        self._greeting = greeting
        self._stack = ExitStack()
        self.readers: list[socket.socket] = []
        self.stalled: list[socket.socket] = []
        try:
            self.readers += [self._open() for _ in range(readers)]
            self.stalled += [self._open(small=True) for _ in range(stalled)]
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def closed(self) -> int:
        """Return how many of the readers the server has closed."""
        return sum(map(_is_closed, self.readers))

    def feed(self, server: int, feed: Feed) -> Aftermath:
        """Have the server, whose main process is `server`, send a feed to all."""
        answer: dict[str, int] = {}
        asking = Thread(target=lambda: answer.update(self._ask(feed)), daemon=True)
        before = tree_pss(server)
        began = time.monotonic()
        asking.start()
        served, took, most = self._read(server, feed, asking, began)
        after = tree_pss(server)
        cut = sum(map(_is_ended, self.stalled))
        members, failed = answer.get("members", 0), answer.get("failed", 0)
        return Aftermath(members, failed, served, cut, took, before, max(most, before, after), after)

    def _open(self, *, small: bool = False) -> socket.socket:
        connection = self._stack.enter_context(socket.socket())
        connection.settimeout(_SECONDS)
        if small:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _MSS)
        connection.connect(("127.0.0.1", self._port))
        shake_hands(connection, *([OFFER] if self._offer else []))
        if self._greeting:
            connection.sendall(masked_text(self._greeting))
            _take_frame(connection)
        connection.setblocking(False)
        return connection

    def _ask(self, feed: Feed) -> dict[str, int]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=feed.seconds)
        try:
            connection.request("GET", f"/feed?{feed.messages},{feed.size},{feed.gap}")
            found: dict[str, int] = json.loads(connection.getresponse().read())
            return found
        finally:
            connection.close()

    def _read(self, server: int, feed: Feed, asking: Thread, began: float) -> tuple[int, float, int]:
        """Return how many readers got all, after how many seconds the last did, and the server's most PSS meanwhile."""
        missing = dict.fromkeys(self.readers, feed.bytes)
        served, took, most, look_at = 0, 0.0, 0, began
        with selectors.DefaultSelector() as selector:
            for reader in self.readers:
                selector.register(reader, selectors.EVENT_READ)
            while (served < len(missing) or asking.is_alive()) and time.monotonic() < began + feed.seconds:
                for key, _ in selector.select(_SAMPLE):
                    hearer = key.fileobj
                    assert isinstance(hearer, socket.socket)
                    size = _received(hearer)
                    missing[hearer] -= size
                    if not size:
                        selector.unregister(hearer)
                    elif not missing[hearer]:
                        served, took = served + 1, time.monotonic() - began
                if time.monotonic() >= look_at:
                    most = max(most, tree_pss(server))
                    look_at = time.monotonic() + _SAMPLE
        return sum(left == 0 for left in missing.values()), took, most


def _take_frame(connection: socket.socket) -> None:
    """Read one frame of fewer than 65536 bytes (RFC 6455, 5.2); raises OSError if none comes."""
    size = _exactly(connection, 2)[1]
    _exactly(connection, size if size < 126 else int.from_bytes(_exactly(connection, 2), "big"))


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = connection.recv(size, socket.MSG_WAITALL)
    if len(data) < size:
        raise ConnectionResetError("the server closed the connection")
    return data


def _received(connection: socket.socket) -> int:
    try:
        return connection.recv_into(_PIECE)
    except ConnectionError:
        return 0


def _is_closed(connection: socket.socket) -> bool:
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def _is_ended(connection: socket.socket) -> bool:
    """Return whether the server has ended the connection, behind what it sent before."""
    try:
        while connection.recv_into(_PIECE):
            continue
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return True
