"""What an HTTP/1.1 request means and how its response must be framed (RFC 9110, RFC 9112).

Pure: both parsers deliver, this module judges. Every refusal is a `PeerError` with the status to answer.
"""

from corehttp.asgi import Headers
from corehttp.errors import PeerError
from corehttp.patterns import pattern
from corehttp.protocols.fields import elements, is_host, is_token, put_host
from corehttp.records import mutable_record


@mutable_record
class Intent:
    """What a request's head asks of the connection. It is not changed."""

    __slots__ = ("expects_continue", "length", "persistent", "plain")

    persistent: bool
    plain: bool  # HTTP/1.1, persistent and not HEAD: nothing in it bears on how the response is framed
    length: int  # the bytes of the body; -1 if it is chunked
    expects_continue: bool

    def __init__(self, persistent: bool, plain: bool, length: int = 0, expects_continue: bool = False) -> None:
        self.persistent = persistent
        self.plain = plain
        self.length = length
        self.expects_continue = expects_continue


# Almost every request means one of these, so they are made once.
_PLAIN = Intent(persistent=True, plain=True)
_KEEP = Intent(persistent=True, plain=False)
_CLOSE = Intent(persistent=False, plain=False)

SINGLETONS = (b"host", b"content-length", b"transfer-encoding", b"expect")
MAX_CONTENT_LENGTH = 2**63 - 1
# The methods of the IANA registry that a request over HTTP/1.1 can have, and PURGE, M-SEARCH, NOTIFY, SUBSCRIBE and
# UNSUBSCRIBE of UPnP: what llhttp knows, so that both parsers serve the same. CONNECT is for proxies.
METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "QUERY", "COPY", "LOCK", "MKCOL", "MOVE"}
    | {"PROPFIND", "PROPPATCH", "SEARCH", "UNLOCK", "BIND", "REBIND", "UNBIND", "ACL", "REPORT", "MKACTIVITY", "LINK"}
    | {"CHECKOUT", "MERGE", "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PURGE", "MKCALENDAR", "UNLINK"}
)

_ABSOLUTE_FORM = pattern(rb"(?i:https?)://(?P<authority>[^/?#]+)(?P<rest>[/?][!-\"$-~]*)?")
# Values of Host that were found valid. Only short ones are kept, so that clients fill 150 KB at most; a DNS name has no
# more than 253 characters (RFC 1035, 2.3.4).
_valid_hosts: set[bytes] = set()
_MAX_REMEMBERED = 512
_MAX_REMEMBERED_SIZE = 255  # bytes


def judge(method: str, target: str, version: str, headers: Headers, fields: dict[bytes, bytes]) -> Intent:
    """Decide what a request head asks for.

    `target` is decoded as Latin-1; field names are lower-case, values are stripped; `fields` is dict(headers).
    Raises PeerError with 400, 417, 501 or 505 for a head that must not be served.
    """
    # String methods take a third of the time of a regular expression.
    unusual = (
        target[0] != "/"
        or not target.isascii()
        or not target.isprintable()
        or "#" in target
        or method not in METHODS
        or (version != "1.1" and version != "1.0")
    )
    if unusual:
        judge_line(method, target, version)
    return judge_fields(method, version, headers, fields)


def judge_fields(method: str, version: str, headers: Headers, fields: dict[bytes, bytes]) -> Intent:
    """Decide what the fields of a request ask for, whatever its target is. Arguments and errors are as in `judge`."""
    repeated = len(fields) != len(headers)
    if repeated:
        _refuse_repeated(headers)
    host = fields.get(b"host")
    if host is None:
        if version == "1.1":
            raise PeerError(400, "an HTTP/1.1 request needs a Host field")
    elif host not in _valid_hosts:
        _check_host(host)
    if version == "1.1":
        connection = fields.get(b"connection")
        if connection is None or (connection == b"keep-alive" and not repeated):
            persistent = True
        else:
            persistent = (connection != b"close" or repeated) and b"close" not in _connection_options(headers)
    else:
        options = _connection_options(headers)
        persistent = b"keep-alive" in options and b"close" not in options
    if b"content-length" in fields or b"transfer-encoding" in fields or b"expect" in fields:
        return _judge_body(fields, version, persistent, method)
    if not persistent:
        return _CLOSE
    return _PLAIN if method != "HEAD" and version == "1.1" else _KEEP


def closing(intent: Intent) -> Intent:
    """The same intent of a request after which the connection ends, whatever its head says."""
    return Intent(persistent=False, plain=False, length=intent.length, expects_continue=intent.expects_continue)


def judge_line(method: str, target: str, version: str) -> None:
    """Raises PeerError for a request line that must not be served: 400, 501 or 505 (RFC 9112, 3).

    The version is judged first: what a method means depends on it.
    """
    if version not in ("1.1", "1.0"):
        raise PeerError(505, "only HTTP/1.0 and HTTP/1.1 are served")
    if method not in METHODS:
        raise PeerError(501, f"the method {method[:32]} is not served")
    # RFC 9112, 3.2: visible ASCII without a fragment. A space needs no check, since it ends the target.
    if not target.isascii() or not target.isprintable() or "#" in target:
        raise PeerError(400, "the request target must be visible ASCII characters without a fragment")
    if target == "*":
        if method != "OPTIONS":
            raise PeerError(400, "the target * is for OPTIONS only")
    elif target[0] != "/":
        absolute = _ABSOLUTE_FORM().fullmatch(target.encode())
        if absolute is None or not is_host(absolute["authority"]):
            raise PeerError(400, "the request target is not valid")


def origin_form(target: bytes) -> bytes:
    """The path and query of a target in another form, once `judge` has accepted it (RFC 9112, 3.2)."""
    absolute = _ABSOLUTE_FORM().fullmatch(target)
    if absolute is None:
        return target
    rest: bytes = absolute["rest"] or b"/"
    return rest if rest[:1] == b"/" else b"/" + rest


def use_authority(target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """Give `headers` the host of a target in absolute form: the one that counts (RFC 9112, 3.2.2).

    Whatever Host said is ignored, as a server must; so nobody behind can be told a host that the target does not name.
    To be called with fields that `judge` has accepted: one Host at most.
    """
    absolute = _ABSOLUTE_FORM().fullmatch(target)
    if absolute is not None:
        put_host(headers, absolute["authority"])


def _refuse_repeated(headers: list[tuple[bytes, bytes]]) -> None:
    names = [name for name, _ in headers]
    for name in SINGLETONS:
        if names.count(name) > 1:
            raise PeerError(400, f"the field {name.decode()} is given more than once")


def _connection_options(headers: list[tuple[bytes, bytes]]) -> set[bytes]:
    """The options of all Connection fields, lower-case (RFC 9110, 7.6.1)."""
    return {option.lower() for option in elements(headers, b"connection")}


def takes_trailers(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the client wants trailer fields (RFC 9110, 10.1.4 and 6.5.1)."""
    try:
        return b"trailers" in [coding.lower() for coding in elements(headers, b"te")]
    except PeerError:
        return False


def _check_host(host: bytes) -> None:
    """Raise PeerError unless a Host field has a host; one that is valid is remembered (RFC 9110, 7.2)."""
    if host and not is_host(host):
        raise PeerError(400, "the Host field is not a valid host")
    if len(host) > _MAX_REMEMBERED_SIZE:
        return
    if len(_valid_hosts) >= _MAX_REMEMBERED:
        _valid_hosts.clear()
    _valid_hosts.add(host)


def _judge_body(fields: dict[bytes, bytes], version: str, persistent: bool, method: str) -> Intent:
    """Decide from the fields of a head whether a body follows, and of what length (RFC 9112, 6.3); raises PeerError."""
    declared = fields.get(b"content-length")
    coding = fields.get(b"transfer-encoding")
    length = 0
    if coding is not None:
        # RFC 9112, 6.1: both fields present is a smuggling attempt, and HTTP/1.0 has no transfer codings.
        if declared is not None or version != "1.1":
            raise PeerError(400, "Transfer-Encoding with Content-Length or with HTTP/1.0")
        if coding.lower() != b"chunked":
            raise _unserved_coding(coding)
        length = -1
    elif declared is not None:
        # bytes.isdigit() is ASCII only: no sign, no list, no space gets through.
        if not declared.isdigit() or len(declared) > 19 or int(declared) > MAX_CONTENT_LENGTH:
            raise PeerError(400, "Content-Length is not a valid length")
        length = int(declared)
    expectation = fields.get(b"expect")
    if expectation is not None and expectation.lower() != b"100-continue":
        raise PeerError(417, "the only expectation met is 100-continue")
    expects_continue = expectation is not None and version == "1.1" and length != 0
    plain = persistent and method != "HEAD" and version == "1.1" and not expects_continue
    return Intent(persistent=persistent, plain=plain, length=length, expects_continue=expects_continue)


def _unserved_coding(value: bytes) -> PeerError:
    """Why a Transfer-Encoding other than chunked is not served (RFC 9112, 6.1)."""
    try:
        codings = [coding.lower() for coding in elements([(b"transfer-encoding", value)], b"transfer-encoding")]
    except PeerError as error:
        return error.with_traceback(None)
    if not all(is_token(coding.partition(b";")[0].rstrip(b" \t")) for coding in codings):
        return PeerError(400, "the Transfer-Encoding field is not a list of codings")
    if b"chunked" in codings[:-1]:
        return PeerError(400, "the transfer coding chunked must come last, and once")
    return PeerError(501, "the only transfer coding served is chunked")
