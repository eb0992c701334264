"""h11 behind the RequestParser contract: slower, pure Python, and a second opinion."""

import h11

from corehttp.errors import PeerError
from corehttp.protocols.semantics import HEAD_LIMIT
from corehttp.protocols.stream import RequestSink


class H11Parser:
    """Calls the sink as httptools does; only h11's reading half is used."""

    __slots__ = ("_connection", "_method", "_sink", "_version")

    def __init__(self, sink: RequestSink) -> None:
        self._sink = sink
        self._method = b""
        self._version = ""
        self._connection = h11.Connection(h11.SERVER, HEAD_LIMIT)

    def method(self) -> bytes:
        return self._method

    def persists(self) -> bool:
        return self._version == "1.1"

    def upgrading(self) -> bool:
        return False

    def version(self) -> str:
        return self._version

    def feed(self, data: bytes) -> None:
        connection = self._connection
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                return
            if isinstance(event, h11.Request):
                self._report_head(event)
            elif isinstance(event, h11.Data):
                self._sink.on_body(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self._sink.on_message_complete()
                if self._sink.final:
                    return
                # We write responses ourselves, so h11 cannot go to its next cycle: a new one takes over.
                rest, _ = connection.trailing_data
                self._connection = connection = h11.Connection(h11.SERVER, HEAD_LIMIT)
                if not rest:  # h11 takes empty bytes for the end of the stream
                    return
                connection.receive_data(rest)
            else:
                return

    def recover(self, data: bytes, error: Exception) -> PeerError | None:
        if isinstance(error, h11.RemoteProtocolError):
            return PeerError(error.error_status_hint, f"the request cannot be parsed: {error}")
        raise error

    def _report_head(self, request: h11.Request) -> None:
        sink = self._sink
        self._method = request.method
        self._version = request.http_version.decode()
        sink.on_url(request.target)
        for name, value in request.headers:
            sink.on_header(name, value)
        sink.on_headers_complete()
