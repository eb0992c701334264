"""What a head means by itself, and behind another one on the same connection: it must be the same."""

import marshal
from typing import cast

from corehttp.protocols.context import WorkerContext
from corehttp.protocols.contracts import ResponseStream
from corehttp.protocols.http1.request_heads import RequestHeads
from corehttp.protocols.peer import direct

PEER = direct(("127.0.0.1", 50000), ("127.0.0.1", 8000), "/root")
END = b"\r\n\r\n"
NOWHERE = cast(ResponseStream, object())  # nothing is sent


def is_head(raw: bytes) -> bool:
    """Whether a reader has these bytes read as one head: it ends with the first empty line, and begins visibly."""
    return raw.find(END) == len(raw) - len(END) and raw[0] > 32


def heads_of(raw: bytes) -> list[bytes]:
    """All that may be the heads of requests in what a client sends."""
    return [head for piece in raw.split(END)[:-1] if is_head(head := piece + END)]


class OneConnection:
    """Reads the heads of one connection, for an application that writes into all that it gets."""

    def __init__(self, context: WorkerContext) -> None:
        self._heads = RequestHeads(context, NOWHERE)
        self._heads.peer = PEER

    def _begin(self) -> None:
        self._heads.wrong = self._heads.upgrade = None

    def read(self, head: bytes) -> object:
        """All that comes of a head."""
        heads = self._heads
        self._begin()
        exchange = heads.read(head)
        if exchange is None:
            return heads.wrong, None if heads.upgrade is None else heads.upgrade[1]
        scope = marshal.loads(marshal.dumps(dict(exchange.scope)))  # a copy: `deepcopy` takes four times as long
        exchange.scope["headers"].append((b"written", b"here"))
        for part in ("state", "asgi", "extensions"):
            exchange.scope[part]["written"] = {}
        exchange.scope["path"] = "/written"
        said = exchange.method, exchange.target, exchange.version, exchange.peer, exchange.takes_trailers
        return scope, heads.intent, said, exchange.intake, exchange.expects_continue


def check_behind(first: bytes, head: bytes, context: WorkerContext, *others: bytes) -> None:
    """Assert that a head means behind `first` what it means alone; `others` come before it, and vary from it."""
    connection = OneConnection(context)
    connection.read(first)
    for other in (first, *others):  # the first head of a connection is not remembered
        connection.read(other)
    if others:
        connection.read(first)
    assert connection.read(head) == OneConnection(context).read(head), f"another meaning behind {first!r}: {head!r}"


def check_repeated(first: bytes, head: bytes, context: WorkerContext) -> None:
    """Assert that a head means behind `first` what it means alone, and so a second and a third time, and in turns."""
    connection = OneConnection(context)
    alone = {raw: OneConnection(context).read(raw) for raw in (first, head)}
    for raw in (first, first, head, head, head, first, head, first):
        assert connection.read(raw) == alone[raw], f"another meaning, of {first!r} and {head!r}: {raw!r}"
