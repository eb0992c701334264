"""A request's head, line by line: where its first fault is, however it is cut (RFC 9112, 2 to 5). Pure.

What a parser makes of a head is fast but its own; this is the reference that both are held to. It runs where a parser
has refused a head, where a head is not whole yet or is large, and before a parser that takes too much.
"""

from corehttp.asgi import Headers
from corehttp.errors import PeerError
from corehttp.patterns import pattern
from corehttp.protocols.fields import TOKEN, VALUE_CHARACTERS, is_token
from corehttp.protocols.http1.semantics import judge, judge_line
from corehttp.protocols.limits import Limits

_REQUEST_LINE = pattern(rb"(%b) ([!-~]+) HTTP/([0-9]\.[0-9])\r\n" % TOKEN)
_FIELD = pattern(rb"(%b):([%b]*)\r\n" % (TOKEN, VALUE_CHARACTERS))
_NOT_VISIBLE = pattern(rb"[^ -~]")


class HeadScan:
    """Looks for the first fault by position in a head that grows; each byte is looked at once."""

    __slots__ = ("_at", "_limits", "_lines", "_seen")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._at = 0  # where the first line begins that is not whole
        self._seen = 0  # up to here there is no line break beyond
        self._lines = 0

    def scan(self, head: bytes | bytearray) -> None:
        """Look at what has come since the last call; raises PeerError with 400, 414, 431, 501 or 505."""
        while (end := head.find(b"\n", self._seen) + 1) > 0:
            line = bytes(head[self._at : end])
            if self._lines == 0:
                self._check_start(line[:-2] if line.endswith(b"\r\n") else line[:-1])
                if end > self._limits.request_head:
                    raise too_large(self._limits)
                judge_line(*split_request_line(line))
            else:
                check_field_of_many(line, self._lines, end, self._limits)
            self._at = self._seen = end
            self._lines += 1
        rest = bytes(head[self._at :]) if self._lines == 0 else b""
        if rest:
            self._check_start(rest[:-1] if rest.endswith(b"\r") else rest)
        if len(head) > self._limits.request_head:
            raise too_large(self._limits)
        self._seen = len(head)

    def _check_start(self, line: bytes) -> None:
        limit, end = self._limits.request_line, self._limits.request_head
        # What is beyond the limit of the whole head, or of the line, comes after that fault.
        if _NOT_VISIBLE().search(line, 0, min(limit + 1, end)):
            raise PeerError(400, "the request line must be visible ASCII characters, and end in CR LF")
        if limit < min(len(line), end):
            raise PeerError(414, f"the request line must not be longer than {limit} bytes")


def split_request_line(line: bytes) -> tuple[str, str, str]:
    """Method, target and version of a whole request line; raises PeerError."""
    parts = _REQUEST_LINE().fullmatch(line)
    if parts is None:
        raise PeerError(400, "the request line must be METHOD TARGET HTTP/1.1, with single spaces")
    return parts[1].decode(), parts[2].decode(), parts[3].decode()


def other_version(text: bytes) -> str:
    """The version of a request line, if it is not HTTP/1.1; raises PeerError."""
    if text != b"HTTP/1.0":
        raise PeerError(505, "only HTTP/1.0 and HTTP/1.1 are served")
    return "1.0"


def check_field_of_many(line: bytes, number: int, end: int, limits: Limits) -> None:
    """Raises PeerError unless the line may be field `number` of a head or of trailers, or the empty line after them.

    `end` is how many bytes they are up to here.
    """
    if end > limits.request_head:
        raise too_large(limits)
    if line == b"\r\n":
        return
    if number > limits.request_fields:
        raise PeerError(431, f"a request must not have more than {limits.request_fields} fields")
    if _FIELD().fullmatch(line) is None:
        raise PeerError(400, _fault_of_field(line))


def too_large(limits: Limits) -> PeerError:
    """Why a request with a larger head, or larger trailers, is not served (RFC 6585, 5)."""
    return PeerError(431, f"the fields of a request must not be larger than {limits.request_head} bytes")


def body_too_large(limits: Limits) -> PeerError:
    """Why a request with a larger body is not served (RFC 9110, 15.5.14)."""
    return PeerError(413, f"the body of a request must not be larger than {limits.request_body} bytes")


def split_head(head: bytes) -> tuple[str, str, str, Headers]:
    """Method, target, version and fields of a whole head that a scan has found no fault in."""
    first, *lines, _, _ = head.split(b"\r\n")
    fields = [line.partition(b":") for line in lines]
    headers = [(name.lower(), value.strip(b" \t")) for name, _, value in fields]
    return *split_request_line(first + b"\r\n"), headers


def diagnose(head: bytes, limits: Limits) -> PeerError | None:
    """Why a whole head that a parser refuses must not be served; None if nothing is wrong with it."""
    try:
        HeadScan(limits).scan(head)
        method, target, version, headers = split_head(head)
        intent = judge(method, target, version, headers, dict(headers))
        if intent.length > limits.request_body:
            return body_too_large(limits)
    except PeerError as error:
        return error.with_traceback(None)
    return None


def _fault_of_field(line: bytes) -> str:
    name, colon, _ = line.partition(b":")
    if not line.endswith(b"\r\n"):
        return "a line must end in CR LF"
    if line[:1] in (b" ", b"\t"):
        return "a field must not be folded over several lines"
    if not colon or not name or not is_token(name):
        return "a field must be NAME: VALUE, with a token for a name and no space before the colon"
    return "a field's value must not contain control characters"
