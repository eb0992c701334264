"""Requests as Hypothesis makes them: valid ones, nearly valid ones, streams of them, and cuts."""

from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from hypothesis import strategies as st

from tests.kit.agreement import TURN


@dataclass(frozen=True)
class Encoded:
    """A body and its bytes on the wire."""

    content: bytes
    raw: bytes


@dataclass(frozen=True)
class Written:
    """A request on the wire, and what its application is to see."""

    raw: bytes
    method: str
    raw_path: bytes
    query: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes


T = TypeVar("T")


def often(usual: st.SearchStrategy[T], rare: st.SearchStrategy[T], times: int = 9) -> st.SearchStrategy[T]:
    """Mostly the usual, once in so many times the rare."""
    return st.integers(1, times).flatmap(lambda number: rare if number == times else usual)


def _often_of(usual: list[bytes], rare: list[bytes]) -> st.SearchStrategy[bytes]:
    return often(st.sampled_from(usual), st.sampled_from(rare), 5)


SPACES = st.sampled_from([b"", b"", b"", b" ", b"\t", b" \t "])
TOKENS = st.text("!#$%&'*+-.^_`|~09azAZ", min_size=1, max_size=4).map(str.encode)
CONTENTS = st.binary(max_size=12)

METHODS = _often_of(
    [b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS"], [b"CONNECT", b"M-SEARCH", b"PRI", b"get", b"", b"G{T"]
)
TARGETS = _often_of(
    [b"/", b"/a", b"/ab?c", b"/%41%zz?%00"],
    [b"*", b"http://a/b?c", b"HTTP://A", b"https://a:80?b", b"http://b/", b"a", b"//", b"/#", b"/\xe9", b"/\x7f", b""],
)
VERSIONS = _often_of(
    [b"HTTP/1.1"] * 3 + [b"HTTP/1.0"],
    [b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/11", b"http/1.1", b"HTTP/1.1 ", b"HTTP/1.1\t", b"1.1", b""],
)
HOSTS = _often_of([b"Host: a", b"host:a"], [b"Host:", b"Host: b", b"Host: a:80", b"Host: a b", b"Host : a", b"X: y"])
CONNECTIONS = [
    b"close",
    b"keep-alive",
    b"x, Close",
    b"keep-alive,\tclose",
    b",",
    b"close x",
    b"upgrade",
    b"Keep-Alive, Upgrade",
    b"",
]
FIELDS = st.one_of(
    st.sampled_from([b"Connection: ", b"connection:", b"Proxy-Connection: ", b"CONNECTION:\t"]).flatmap(
        lambda name: st.sampled_from(CONNECTIONS).map(lambda value: name + value)
    ),
    st.sampled_from(
        [
            *(
                b"Content-Length: " + value
                for value in (b"0", b"3", b"03", b"+3", b"3, 3", b"", b"-1", b"3\t", b"9" * 20)
            ),
            *(b"Transfer-Encoding: " + value for value in (b"chunked", b"Chunked", b"gzip, chunked", b"x", b"", b'"')),
            *(b"Expect: " + value for value in (b"100-continue", b"100-Continue", b"x", b"")),
            *(b"X-Forwarded-For: " + value for value in (b"192.0.2.9", b"unknown, [::1]:80", b"", b"\xff,")),
            *(b"X-Forwarded-%b: %b" % said for said in ((b"Proto", b"wss"), (b"Host", b"b:9"), (b"Prefix", b"/%2e"))),
            *(b"Upgrade: " + value for value in (b"websocket", b"h2c", b"")),
            b"Host: a",
            b"X",
            b"X :y",
            b": y",
            b" y",
            b"X: \x00",
            b"X: \x7f",
            b"X: \xff\x80",
            b"X:\t y \t",
            b"X\x00: y",
        ]
    ),
    st.tuples(TOKENS, SPACES, st.text('a \t,;="\\\xe9~', max_size=6)).map(
        lambda parts: b"%b:%b%b" % (parts[0], parts[1], parts[2].encode("latin-1"))
    ),
)

# A quoted string, or a token (RFC 9112, 7.1.1).
_QUOTED = st.lists(
    st.sampled_from([b"a", b" ", b"\t", b";", b"=", b'\\"', b"\\\\", b"\\a", b"\xff", b",", b"'"]), max_size=4
).map(lambda pieces: b'"%b"' % b"".join(pieces))
_EXTENSIONS = st.lists(
    st.tuples(SPACES, SPACES, TOKENS, st.one_of(st.none(), st.tuples(SPACES, SPACES, st.one_of(TOKENS, _QUOTED)))),
    max_size=2,
).map(
    lambda extensions: b"".join(
        b"%b;%b%b" % (before, after, name) + (b"" if value is None else b"%b=%b%b" % value)
        for before, after, name, value in extensions
    )
)
_TRAILERS = st.lists(st.tuples(TOKENS, SPACES, st.sampled_from([b"", b"y", b"a b", b"\xff"])), max_size=2).map(
    lambda fields: b"".join(b"%b:%b%b\r\n" % field for field in fields)
)


@st.composite
def encoded_bodies(draw: st.DrawFn) -> Encoded:
    """A body in any valid chunking, with extensions and trailers."""
    contents = draw(st.lists(st.binary(min_size=1, max_size=20), max_size=4))
    raw = []
    for content in contents:
        size = draw(st.sampled_from([b"%x", b"%X", b"0%x", b"%016x"])) % len(content)
        raw.append(b"%b%b\r\n%b\r\n" % (size, draw(_EXTENSIONS), content))
    last = draw(st.sampled_from([b"0", b"0", b"000"])) + draw(_EXTENSIONS)
    raw.append(b"%b\r\n%b\r\n" % (last, draw(_TRAILERS)))
    return Encoded(b"".join(contents), b"".join(raw))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request that is valid or nearly so, most often with the body that it announces."""
    line = b"%b %b %b" % (draw(METHODS), draw(TARGETS), draw(VERSIONS))
    framing, body = draw(framed_bodies())
    fields = draw(st.permutations([draw(HOSTS), *draw(st.lists(FIELDS, max_size=3)), *framing]))
    if draw(st.integers(0, 9)) == 9:
        framing, body = draw(framed_bodies())
    return b"\r\n".join([line, *fields]) + b"\r\n\r\n" + body.raw


@st.composite
def valid_requests(draw: st.DrawFn) -> Written:
    """A request that is served, on a connection that goes on."""
    method = draw(st.sampled_from([b"GET", b"POST", b"HEAD"]))
    path = draw(st.sampled_from([b"/", b"/a", b"/ab/%41", b"//"]))
    query = draw(st.sampled_from([None, b"", b"a=b", b"?%"]))
    framing, body = draw(framed_bodies())
    names = TOKENS.map(lambda name: b"x-" + name.lower())
    values = st.text('a \t,;="\\\xe9~:', max_size=6).map(lambda value: value.strip(" \t").encode("latin-1"))
    others = [
        (name, draw(SPACES) + value + draw(SPACES), value)
        for name, value in draw(st.lists(st.tuples(names, values), max_size=3))
    ]
    announced = [(name.lower(), b" " + value, value) for name, _, value in (line.partition(b": ") for line in framing)]
    fields = draw(st.permutations([(b"host", b" a", b"a"), *others, *announced]))
    target = path if query is None else b"%b?%b" % (path, query)
    lines = [b"%b %b HTTP/1.1" % (method, target), *(b"%b:%b" % field[:2] for field in fields)]
    return Written(
        raw=b"\r\n".join(lines) + b"\r\n\r\n" + body.raw,
        method=method.decode(),
        raw_path=path,
        query=query or b"",
        fields=[(name, value) for name, _, value in fields],
        body=body.content,
    )


@st.composite
def framed_bodies(draw: st.DrawFn) -> tuple[list[bytes], Encoded]:
    """The field lines that announce a body, and the body."""
    match draw(st.sampled_from(["none", "none", "none", "sized", "chunked"])):
        case "sized":
            content = draw(CONTENTS)
            return [b"Content-Length: %d" % len(content)], Encoded(content, content)
        case "chunked":
            return [b"Transfer-Encoding: chunked"], draw(encoded_bodies())
        case _:
            return [], Encoded(b"", b"")


@st.composite
def faults(draw: st.DrawFn, raw: bytes) -> bytes:
    """`raw` with something done to it."""
    at = draw(st.integers(0, len(raw)))
    breaks = [index for index in range(len(raw)) if raw.startswith(b"\r\n", index)]
    match draw(st.sampled_from(["insert", "insert", "delete", "break", "break", "cut", "repeat"])):
        case "insert":
            strange = [b" ", b"\t", b"\r", b"\n", b"\r\n", b"\x00", b"\x0b", b"\x7f", b"\x80", b":", b",", b";", b"0"]
            return raw[:at] + draw(st.sampled_from(strange)) + raw[at:]
        case "delete":
            return raw[:at] + raw[at + 1 :]
        case "break" if breaks:
            at = draw(st.sampled_from(breaks))
            other = draw(
                st.sampled_from([b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r\n", b" \r\n", b"\r\n ", b"\r\n\t", b""])
            )
            return raw[:at] + other + raw[at + 2 :]
        case "cut":
            return raw[:at]
        case _:
            end = draw(st.integers(at, len(raw)))
            return raw[:at] + raw[at:end] * 2 + raw[end:]


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """What comes over a connection: requests one after the other, sometimes with faults."""
    blank = st.sampled_from([b"", b"", b"", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\r\n" * 3])
    raw = b"".join(draw(blank) + draw(requests()) for _ in range(draw(st.integers(1, 4))))
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2]))):
        raw = draw(faults(raw))
    return raw


@st.composite
def cuts(draw: st.DrawFn, raw: bytes) -> list[bytes]:
    """`raw` in pieces, with or without turns of the event loop between them."""
    ends = sorted(draw(st.sets(st.integers(0, len(raw)), max_size=4)) | {0, len(raw)})
    pieces = [raw[start:end] for start, end in pairwise(ends)]
    turn = [TURN] * draw(st.integers(0, 2))
    return [each for piece in pieces for each in (piece, *turn)]
