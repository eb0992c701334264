"""The chunked transfer coding of a request's body, however it is cut (RFC 9112, 7.1). Pure."""

from enum import Enum
from itertools import product

from corehttp.errors import PeerError
from corehttp.patterns import pattern
from corehttp.protocols.fields import TOKEN, VALUE_CHARACTERS
from corehttp.protocols.http1.head import body_too_large, check_field_of_many, too_large
from corehttp.protocols.limits import Limits

LINE_LIMIT = 1024  # bytes of the line before a chunk: its size and extensions
EXTENSIONS_LIMIT = 16384  # bytes of all extensions of a body
MAX_SIZE = 2**63 - 1

_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[%b])*"' % VALUE_CHARACTERS  # RFC 9110, 5.6.4
_EXTENSION = rb"[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?" % (TOKEN, TOKEN, _QUOTED)
_SIZE_LINE = pattern(rb"([0-9A-Fa-f]{1,16})((?:%b)*)\r\n" % _EXTENSION)


# The end of a chunk, and the size of the next one in one or two digits; 0 ends the body.
_NEXT_SMALL = {
    b"\r\n%b\r\n" % digits: int(digits, 16)
    for digits in [bytes(pair) for pair in product(b"0123456789abcdefABCDEF", repeat=2)]
    + [b"%c" % digit for digit in b"123456789abcdefABCDEF"]
    if int(digits, 16)
}
_NEXT = pattern(rb"\r\n([0-9A-Fa-f]{1,16})((?:%b)*)\r\n" % _EXTENSION)


class Part(Enum):
    """What comes next."""

    SIZE = "size"
    DATA = "data"
    DATA_END = "the line break after the data"
    TRAILER = "trailer"
    END = "end"


_SIZE, _DATA, _DATA_END, _TRAILER, _END = Part


class ChunkedBody:
    """Decodes a body; trailers are checked and dropped, since ASGI has no place for them."""

    __slots__ = ("_extensions", "_left", "_limits", "_line", "_part", "_total", "_trailers", "_trailers_size")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._part = _SIZE
        self._line = bytearray()  # the line that is being read
        self._left = 0  # bytes of the chunk still to come
        self._total = 0
        self._extensions = 0  # bytes
        self._trailers = 0
        self._trailers_size = 0  # bytes

    @property
    def whole(self) -> bool:
        """Whether the end of the body has come."""
        return self._part is _END

    def feed(self, data: bytes | bytearray, at: int) -> tuple[bytes, int]:
        """Decode `data` from `at` on, to the end of the body at most; returns the content and where it stopped.

        Raises PeerError with 400, 413 or 431.
        """
        pieces: list[bytes | bytearray] = []
        size = len(data)
        while at < size and self._part is not _END:
            if self._part is _DATA_END and not self._line and type(data) is bytes:
                at = self._take_whole(data, at, pieces)
                if at == size:
                    break
            if self._part is _DATA:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._part = _DATA_END
                continue
            end = data.find(b"\n", at) + 1
            self._line += data[at : end or size]
            at = end or size
            self._check_length()
            if end:
                line = bytes(self._line)
                self._line.clear()
                self._take(line)
        return b"".join(pieces), at

    def _take_whole(self, data: bytes, at: int, pieces: list[bytes | bytearray]) -> int:
        """Take the chunks that are there whole, from the end of one at `at` on; answers where the last one ends.

        A client may send very many: of one byte each takes 0.2 us here, and 3 us line by line (`benchmarks.pieces`).
        What is unusual or wrong stays to be read line by line.
        """
        small: dict[bytes, int] | None = _NEXT_SMALL  # None: there are others too
        seen: dict[bytes, int] = {}  # sizes that are written in other ways
        last = usual = 0  # bytes of the last one of them; and of several in a row, else 0
        total = self._total
        while True:
            start, size = at, None
            if small is not None:
                start = at + 5
                size = small.get(data[at:start])
                if size is None:
                    start = at + 6
                    size = small.get(data[at:start])
                    if size is None:
                        small = None
            if small is None:
                if usual:
                    start = at + usual
                    size = seen.get(data[at:start])
                if size is None:
                    start = data.find(b"\n", at + 2, at + LINE_LIMIT + 4) + 1
                    last, usual = start - at, start - at if start - at == last else 0
                    size = seen.get(data[at:start])
            if size is None:
                line = _NEXT().match(data, at, at + LINE_LIMIT + 4)
                if line is None:
                    break
                start, size = line.end(), int(line[1], 16)
                if not size or size > MAX_SIZE:
                    break
                if line[2]:
                    if start + size > len(data) or self._extensions + len(line[2]) > EXTENSIONS_LIMIT:
                        break
                    self._extensions += len(line[2])
                else:
                    seen[line[0]] = size
            end = start + size
            if end > len(data):
                break
            pieces.append(data[start:end])
            total += size
            at = end
        if total > self._limits.request_body:
            raise body_too_large(self._limits)
        self._total = total
        return at

    def _check_length(self) -> None:
        """Raises PeerError for a line that can only become a wrong one, whole or not."""
        line = self._line
        match self._part:
            case Part.SIZE:
                if len(line) > LINE_LIMIT + 2:
                    raise PeerError(400, f"the line before a chunk must not be longer than {LINE_LIMIT} bytes")
            case Part.DATA_END:
                if not b"\r\n".startswith(line):
                    raise PeerError(400, "a chunk's data must be as long as its size says, and end in CR LF")
            case Part.TRAILER:
                if self._trailers_size + len(line) > self._limits.request_head:
                    raise too_large(self._limits)
            case Part.DATA | Part.END:
                pass

    def _take(self, line: bytes) -> None:
        """Take in a whole line: the size of a chunk, the end of one, a trailer field, or the empty line at the end."""
        match self._part:
            case Part.SIZE:
                self._take_size(line)
            case Part.DATA_END:
                self._part = _SIZE
            case Part.TRAILER:
                self._trailers += 1
                self._trailers_size += len(line)
                check_field_of_many(line, self._trailers, self._trailers_size, self._limits)
                if line == b"\r\n":
                    self._part = _END
            case Part.DATA | Part.END:
                pass

    def _take_size(self, line: bytes) -> None:
        """Take in the line that says how long the next chunk is."""
        match = _SIZE_LINE().fullmatch(line)
        if match is None or int(match[1], 16) > MAX_SIZE:
            raise PeerError(400, "a chunk must begin with its size in hexadecimal digits, and CR LF")
        self._extensions += len(match[2])
        if self._extensions > EXTENSIONS_LIMIT:
            raise PeerError(400, f"the chunk extensions of a body must not exceed {EXTENSIONS_LIMIT} bytes")
        self._left = int(match[1], 16)
        self._total += self._left
        if self._total > self._limits.request_body:
            raise body_too_large(self._limits)
        self._part = _DATA if self._left else _TRAILER
