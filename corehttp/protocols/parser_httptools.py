"""httptools (llhttp) behind the RequestParser contract."""

import httptools

from corehttp.errors import PeerError
from corehttp.protocols.stream import RequestSink


class HttptoolsParser:
    """Calls the sink straight from C; nothing of ours runs per callback but the sink."""

    __slots__ = ("_sink", "feed", "method", "persists", "upgrading", "version")

    def __init__(self, sink: RequestSink) -> None:
        self._sink = sink
        self._adopt(httptools.HttpRequestParser(sink))

    def recover(self, data: bytes, error: Exception) -> PeerError | None:
        if isinstance(error, httptools.HttpParserUpgrade):
            return self._ignore_upgrade(data[error.args[0] :])
        cause = error.__context__
        if isinstance(error, httptools.HttpParserCallbackError) and isinstance(cause, PeerError):
            return cause
        if isinstance(error, httptools.HttpParserError) and not isinstance(error, httptools.HttpParserCallbackError):
            return PeerError(400, f"the request cannot be parsed: {error}")
        raise error

    def _adopt(self, parser: httptools.HttpRequestParser) -> None:
        self.feed = parser.feed_data
        self.method = parser.get_method
        self.persists = parser.should_keep_alive
        self.upgrading = parser.should_upgrade
        self.version = parser.get_http_version

    def _ignore_upgrade(self, rest: bytes) -> PeerError | None:
        """Read on after a request that asks for a protocol we do not speak (RFC 9110, 7.8: then it is plain HTTP).

        The parser takes such a request for the last one and drops the framing of its body, so a new parser is told
        the framing and goes on with what follows.
        """
        length = self._sink.body_length
        if length == 0:
            self._adopt(httptools.HttpRequestParser(self._sink))
        else:
            framing = b"content-length: %d" % length if length > 0 else b"transfer-encoding: chunked"
            self._adopt(httptools.HttpRequestParser(_ResumedSink(self._sink)))
            self.feed(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
        if rest:
            try:
                self.feed(rest)
            except Exception as error:
                return self.recover(rest, error)
        return None


class _ResumedSink:
    """Hides the head that only tells a new parser the framing of a body."""

    def __init__(self, sink: RequestSink) -> None:
        self._sink = sink
        self._hidden = True
        self.on_body = sink.on_body
        self.on_message_complete = sink.on_message_complete

    def on_url(self, piece: bytes) -> None:
        if not self._hidden:
            self._sink.on_url(piece)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._hidden:
            self._sink.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._hidden:
            self._hidden = False
        else:
            self._sink.on_headers_complete()
