"""httptools (llhttp) behind the RequestParser contract."""

import httptools

from corehttp.errors import PeerError
from corehttp.protocols.limits import Limits
from corehttp.protocols.stream import RequestSink


class HttptoolsParser:
    """Calls the sink straight from C; nothing of ours runs per callback but the sink.

    llhttp takes no head that `protocols.head` would refuse, but for what `on_headers_complete` has to check: the
    request line's spaces and version, and the limits.
    """

    __slots__ = ("feed", "skip")

    def __init__(self, sink: RequestSink, limits: Limits) -> None:
        self.feed = self.skip = httptools.HttpRequestParser(sink).feed_data

    def refuses(self, error: Exception) -> bool:
        if isinstance(error, httptools.HttpParserUpgrade):
            return False
        if isinstance(error, httptools.HttpParserCallbackError):
            if isinstance(error.__context__, PeerError):
                return True
            raise error
        if isinstance(error, httptools.HttpParserError):
            return True
        raise error
