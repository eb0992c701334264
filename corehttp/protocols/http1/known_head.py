"""The head that a connection read last, so that a client that repeats itself is not parsed again. Pure.

On a connection that is kept alive most requests have the same fields as the one before, and often the same target. A
head is compared with the last one, and only what differs is judged: the same head of 8 fields takes 1 us instead of 7
(`benchmarks.micro`, CPython 3.13). It is parsed like any other if it differs in what decides how a request is read: the
method, the version, the names of the fields, or the value of one in DECIDING. Each connection knows its own last head
alone.
"""

import re
import sys

from corehttp.asgi import Headers
from corehttp.protocols.fields import VALUE_CHARACTERS
from corehttp.protocols.http1.semantics import Intent
from corehttp.protocols.peer import Peer
from corehttp.protocols.scope import HTTPScope, Offers, http_scope, set_target

KNOWN_SIZE = 1024  # bytes of the longest head that is remembered
BODY_SIZE = 32768  # bytes of the longest body that is looked for right behind such a head
SPARE = 64  # bytes by which a head may be longer than the one that was remembered, and still be compared with it

# The fields whose values decide how a request is read (`semantics.judge`), or which protocol follows it. Those of a
# proxy decide who sends it: of a head that has some, no field may differ.
DECIDING = frozenset(
    {b"host", b"connection", b"content-length", b"transfer-encoding", b"expect", b"te", b"upgrade"},
)
# Changes every byte that no field's value may have, and no other. To translate a value of 40 bytes with it takes half
# the instructions of deleting from it what a value may have (callgrind, CPython 3.13).
_CHANGE_FORBIDDEN = re.sub(rb"[^%b]" % VALUE_CHARACTERS, b" ", bytes(range(256)))
_VERSION = b"HTTP/1.1"
_LINE_BREAK = b"\r\n"


def may_be_known(version: str, target: str, fields: dict[bytes, bytes]) -> bool:
    """Whether a head may be remembered as a `KnownHead`, by the version, target and fields of its request."""
    return version == "1.1" and target[0] == "/" and b"upgrade" not in fields and b"te" not in fields


class KnownHead:
    """A head that was read and judged, and what it means."""

    __slots__ = (
        "_begin",
        "_fixed",
        "_rest",
        "_varying",
        "body",
        "fields",
        "head",
        "intent",
        "limit",
        "method",
        "peer",
        "target",
        "template",
    )

    def __init__(
        self,
        head: bytes,
        method: str,
        target: str,
        fields: Headers,
        intent: Intent,
        peer: Peer,
        *,
        fixed: bool,
        limit: int,
    ) -> None:
        """`fields` are as the application is to see them; none of them may differ if the head is `fixed`.

        A head of more than `limit` bytes is not taken.
        """
        self.head = head
        # A head is the method, the target, and what follows: pieces that never differ, each with the place in `fields`
        # of the value behind it, which does; and the rest. The pieces are cut when they are needed.
        self._begin = b""
        self._varying: list[tuple[bytes, int]] = []
        self._rest = b""
        self.fields = fields.copy()
        self._fixed = fixed
        self.limit = limit  # bytes of the longest head that is taken
        self.template: HTTPScope | None = None  # a scope that no application sees; built when it is needed
        self.method = method
        self.target = target
        self.intent = intent
        # Bytes of the body that follows; more than ever come at once if that is chunked, or long.
        self.body = intent.length if 0 <= intent.length <= BODY_SIZE else sys.maxsize
        self.peer = peer

    def takes(self, head: bytes) -> bool:
        """Whether the whole `head` is read as this one is; if so, it is the known one from now on."""
        return self.repeats(head) or (self._learn(head) and self.repeats(head))

    def repeats(self, data: bytes) -> bool:
        """Whether `data` is one whole head that differs from this one only in its target and in values that vary.

        If so, it is the known one from now on; if not, nothing changes. Its end need not be looked for before: a target
        and a value have no line break, so that an empty line is only where the known head has its own, at the end.
        """
        if len(data) > self.limit:
            return False
        begin = self._begin
        if not begin:
            begin = self._begin = self.method.encode() + b" "  # `judge` takes ASCII only: the encoding is what was sent
            self._rest = self.head[len(begin) + len(self.target) :]
        start = len(begin)
        at = data.find(b" ", start)
        target = data[start:at]
        text = target.decode("latin-1")
        if not data.startswith(begin) or text[:1] != "/":
            return False
        if not text.isascii() or not text.isprintable() or "#" in text:  # as `semantics.judge` judges it
            return False
        fields = self.fields
        if self._varying:
            fields = fields.copy()  # those of the known head stay as they are if the rest of `data` is another
        for piece, place in self._varying:
            if not data.startswith(piece, at):
                return False
            start = at + len(piece)
            at = data.find(_LINE_BREAK, start)
            value = data[start:at]
            if value.translate(_CHANGE_FORBIDDEN) != value:
                return False
            fields[place] = fields[place][0], value.strip(b" \t")
        rest = self._rest
        if len(data) != at + len(rest) or not data.endswith(rest):
            return False
        self.head = data
        self.fields = fields
        self.target = text
        if self.template is not None:
            set_target(self.template, self.peer, target, text)
        return True

    def _learn(self, head: bytes) -> bool:
        """Let the values vary in which the whole `head` differs from the known one; answers whether they may.

        That the names of the fields are the same, `repeats` finds out.
        """
        if self._fixed or len(head) > self.limit or not head.startswith(self._begin):
            return False
        known, lines = self.head.split(_LINE_BREAK), head.split(_LINE_BREAK)
        if len(known) != len(lines):
            return False
        varying = {place for _, place in self._varying}
        for place, (old, line) in enumerate(zip(known[1:], lines[1:], strict=True)):
            if old != line:
                if self.fields[place][0] in DECIDING:
                    return False
                varying.add(place)
        self._varying = []
        piece = b" " + _VERSION
        for place, line in enumerate(known[1:]):
            piece += _LINE_BREAK
            if place in varying:
                self._varying.append((piece + line[: line.find(b":") + 1], place))
                piece = b""
            else:
                piece += line
        self._rest = piece
        return True

    def build_template(self, offers: Offers) -> HTTPScope:
        """Build the scope of a request with this head; it becomes the `template` of those that follow."""
        target = self.target.encode()
        scope = http_scope(offers, self.peer, self.method, "1.1", target, self.target, self.fields)
        for own in ("headers", "state", "asgi", "extensions"):  # each scope gets its own, and so no memory is kept here
            scope[own] = None
        self.template = scope
        return scope
