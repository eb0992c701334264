"""Renders the answer to an opening handshake, which the application accepts, or refuses over HTTP. Pure."""

from corehttp.errors import AppError
from corehttp.protocols.contracts import UpgradeAnswer
from corehttp.protocols.fields import check_field
from corehttp.protocols.websocket.handshake import Deflate, Handshake

# Fields of a handshake's answer that an application must not set: the server sends the first two, and a 1xx response
# must not have the others (RFC 9110, 8.6; RFC 9112, 6.1).
_SERVERS_OWN = (b"connection", b"upgrade", b"content-length", b"transfer-encoding")


class OpeningAnswer:
    """Renders the one answer to an opening handshake; sends nothing itself.

    There is one answer: `accept`, or `deny` and then `deny_further` for what is left of the body. If one of them raises
    AppError nothing has changed, and another answer may be tried.
    """

    __slots__ = ("_answer", "_handshake", "sent", "status")

    def __init__(self, handshake: Handshake, answer: UpgradeAnswer) -> None:
        self._handshake = handshake
        self._answer = answer
        self.status = 0  # the status of the response that refuses; 0 while there is none
        self.sent = 0  # bytes of that response's body, before any transfer coding

    def accept(self, subprotocol: str | None, headers: list[tuple[bytes, bytes]]) -> tuple[bytes, Deflate | None]:
        """Return the answer that opens the WebSocket, and the compression that it agrees on (None: no compression).

        An empty `sec-websocket-extensions` among `headers` declines the compression that the client offers. Raises
        AppError for a subprotocol that the client does not offer, and for fields that the server alone may send.
        """
        handshake = self._handshake
        fields = [(b"sec-websocket-accept", handshake.accept)]
        if subprotocol is not None:
            if subprotocol not in handshake.subprotocols:
                raise AppError(
                    f"the subprotocol {subprotocol!r} was not offered; the client offers {handshake.subprotocols}"
                )
            fields.append((b"sec-websocket-protocol", subprotocol.encode()))
        agreed = handshake.deflate
        for name, value in headers:
            check_field(name, value)
            kind = name.lower()
            if kind == b"sec-websocket-extensions" and value == b"":
                agreed = None
            elif kind.startswith(b"sec-websocket-") or kind in _SERVERS_OWN:
                raise AppError(f"the field {name.decode()!r} of the handshake is the server's")
            else:
                fields.append((name, value))
        if agreed is not None:
            fields.append((b"sec-websocket-extensions", agreed.answer))
        return self._answer.switch(b"websocket", fields), agreed

    def deny(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes, more: bool) -> bytes:
        """Return head and first piece of the body of a response that refuses; raises AppError if it is wrong."""
        data = self._answer.deny(status, headers, body, more)
        self.status = status
        self.sent = len(body)
        return data

    def deny_further(self, body: bytes, more: bool) -> bytes:
        """Return a further piece of the body of `deny`; raises AppError if it breaks the declared length."""
        data = self._answer.deny_further(body, more)
        self.sent += len(body)
        return data
