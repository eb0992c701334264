"""h11 behind the RequestParser contract: slower, pure Python, and a second opinion."""

import h11

from corehttp.errors import PeerError
from corehttp.protocols.contracts import RequestSink
from corehttp.protocols.http1.head import HeadScan, split_head
from corehttp.protocols.limits import Limits


class H11Parser:
    """Calls the sink as httptools does; h11 takes more than we do, so a scan goes first."""

    __slots__ = ("_limits", "_sink")

    def __init__(self, sink: RequestSink, limits: Limits) -> None:
        self._sink = sink
        self._limits = limits

    def feed(self, data: bytes) -> None:
        HeadScan(self._limits).scan(data)
        connection = h11.Connection(h11.SERVER, len(data))
        connection.receive_data(data)
        request = connection.next_event()
        if not isinstance(request, h11.Request):
            raise PeerError(400, "the request cannot be parsed")
        sink = self._sink
        for name, value in split_head(data)[3]:  # h11's own are changed: of equal lengths it makes one
            sink.on_header(name, value)
        sink.on_headers_complete()

    def skip(self, data: bytes) -> None:
        pass

    def check(self, error: Exception) -> None:
        if not isinstance(error, h11.RemoteProtocolError):
            raise error
