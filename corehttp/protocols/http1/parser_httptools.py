"""httptools (llhttp) behind the RequestParser contract."""

import httptools

from corehttp.errors import PeerError
from corehttp.protocols.contracts import RequestSink
from corehttp.protocols.limits import Limits


class HttptoolsParser:
    """Calls the sink straight from C; nothing of ours runs per callback but the sink.

    llhttp reports no head that `protocols.http1.head` would refuse, but for what `on_headers_complete` has to check: the
    request line's spaces and version, and the limits.
    """

    __slots__ = ("feed", "skip")

    def __init__(self, sink: RequestSink, limits: Limits) -> None:
        self.feed = self.skip = httptools.HttpRequestParser(sink).feed_data

    def check(self, error: Exception) -> None:
        if isinstance(error, httptools.HttpParserCallbackError):
            if not isinstance(error.__context__, PeerError):
                raise error
        elif not isinstance(error, httptools.HttpParserError | httptools.HttpParserUpgrade):
            raise error
