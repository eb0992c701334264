"""httptools (llhttp) behind the RequestParser contract."""

import httptools

from corehttp.errors import PeerError
from corehttp.protocols.contracts import RequestSink
from corehttp.protocols.limits import Limits


class HttptoolsParser:
    """Parses in C, from where it calls the sink directly: no frame of our own runs per callback but the sink's.

    llhttp reports no head that `protocols.http1.head` would refuse, except for what `on_headers_complete` has to
    check: the spaces and the version of the request line, and the limits.
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
