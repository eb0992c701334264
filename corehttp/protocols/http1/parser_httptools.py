"""httptools (llhttp) behind the RequestParser contract."""

import httptools

from corehttp.asgi import Headers
from corehttp.errors import PeerError
from corehttp.protocols.field_names import lower_name, ordinary, proxied
from corehttp.protocols.limits import Limits

_SPACE = ord(" ")


class HttptoolsParser:
    """Parses in C, from where the sink is called for each field.

    llhttp reports no head that `protocols.http1.head` would refuse, except for what `request_heads` checks: the spaces
    and the version of the request line, and the limits. It never sees a body: after a head that announces one, or the
    end of the connection, a new llhttp parser takes over, which costs 0.3 us (`httptools.HttpRequestParser`).
    """

    __slots__ = ("_feed", "_sink")

    def __init__(self, limits: Limits) -> None:
        self._sink = _Sink()
        self.renew()

    def renew(self) -> None:
        """Have a new llhttp parser parse the next head: after one that ends its connection, the old one takes none."""
        self._sink.in_head.clear()
        self._sink.in_message.clear()
        parser = httptools.HttpRequestParser(self._sink)
        self._feed = parser.feed_data

    def parse(self, head: bytes) -> tuple[Headers, bool]:
        """The fields of a whole head, and whether a proxy's may be among them; raises PeerError."""
        fields = self._fields(head)
        if fields is None:
            # It may have stumbled over the head before: it takes `Proxy-Connection: close` for the end, say.
            self.renew()
            fields = self._fields(head)
            if fields is None:
                raise PeerError(400, "the request cannot be parsed")
        sink = self._sink
        if sink.in_message:
            self.renew()
        return fields, sink.uncommon

    def _fields(self, head: bytes) -> Headers | None:
        """The fields of a head; None if not all of it is reported."""
        sink = self._sink
        fields: Headers = []
        sink.fields = fields
        sink.uncommon = False
        sink.in_head.append(True)
        sink.in_message.append(True)
        try:
            self._feed(head)
        except httptools.HttpParserCallbackError:
            self.renew()
            raise
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            pass  # once the head is reported, what llhttp makes of the body, or of an upgrade, does not count
        finally:
            del sink.fields
        return None if sink.in_head else fields


class _Sink:
    """What llhttp calls; its names are those of httptools."""

    __slots__ = ("fields", "in_head", "in_message", "on_headers_complete", "on_message_complete", "uncommon")

    fields: Headers  # those of the head that is parsed

    def __init__(self) -> None:
        self.uncommon = False  # whether a name among them may be a proxy's
        # Each has an entry until the head, or the message, is complete. A list's own method empties it, since llhttp
        # can call that without a frame of ours.
        self.in_head: list[bool] = []
        self.in_message: list[bool] = []
        self.on_headers_complete = self.in_head.clear
        self.on_message_complete = self.in_message.clear

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a field of the head."""
        if value and value[-1] <= _SPACE:
            value = value.rstrip(b" \t")
        try:
            name = ordinary[name]
        except KeyError:
            name = proxied.get(name) or lower_name(name)
            self.uncommon = True
        self.fields.append((name, value))
