"""How a connection answers a request that asks for another protocol, as HTTP/1.1 bytes (RFC 9110, 7.8). Pure."""

from corehttp.protocols.clock import Clock
from corehttp.protocols.contracts import Fields
from corehttp.protocols.http1 import wire
from corehttp.protocols.http1.framing import OutgoingBody, frame
from corehttp.protocols.response_fields import BODILESS, OWN_DATE, OWN_SERVER


class HTTP1UpgradeAnswer:
    """Renders the one answer to an upgrade; an `UpgradeAnswer`."""

    __slots__ = ("_body", "_clock")

    _body: OutgoingBody  # the body of a response that refuses; set by `deny`

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def switch(self, protocol: bytes, fields: Fields) -> bytes:
        """Return a whole 101 (Switching Protocols) that names `protocol`, with `fields` as they are."""
        lines = [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: %b\r\nconnection: Upgrade\r\n" % protocol]
        lines += [b"%b: %b\r\n" % field for field in fields]
        return b"".join((*lines, self._clock.lines, b"\r\n"))

    def deny(self, status: int, headers: Fields, body: bytes, more: bool) -> bytes:
        """Return the head of a response that refuses, and the first piece of its body; raises AppError."""
        pieces, length, flags = wire.response_head(status, headers)
        bodiless = status in BODILESS
        known = length < 0 and not more and not bodiless
        self._body, framing = frame(bodiless, status, "1.1", len(body) if known else length)
        encoded = self._body.encode(body, more)
        if known:
            framing = b"content-length: %d\r\n" % len(body)
        lines = self._clock.lines_without(date=flags & OWN_DATE > 0, server=flags & OWN_SERVER > 0)
        return b"".join((*pieces, lines, framing, wire.CONNECTION_CLOSE, b"\r\n", encoded))

    def deny_further(self, body: bytes, more: bool) -> bytes:
        """Return a further piece of the body of `deny`; raises AppError if it breaks the declared length."""
        return self._body.encode(body, more)
