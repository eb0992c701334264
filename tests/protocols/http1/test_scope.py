"""What the application is told about a request (ASGI HTTP specification, "HTTP Connection Scope")."""

import pytest

from corehttp.asgi import Scope
from tests.kit.apps import Recorder, answer, hello
from tests.kit.cuts import serve_every_cut
from tests.kit.fakes import Client, FakeTransport, MakeParser, make_context


async def scope_of(raw: bytes, parser: MakeParser, *, root_path: str = "") -> Scope:
    outcome = await serve_every_cut(raw, parser, hello, root_path=root_path)
    assert outcome.received == answer(b"hello")
    (scope,) = outcome.scopes
    return scope


async def test_every_field_of_a_scope_has_its_exact_type_and_value(parser: MakeParser) -> None:
    raw = b"GET /a%20b/%C3%A9?q=%20x HTTP/1.1\r\nHost: example.org\r\nX-Name:  value \t\r\nx-name: Second\r\n\r\n"
    scope = await scope_of(raw, parser)
    assert scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a b/é",
        "raw_path": b"/a%20b/%C3%A9",
        "query_string": b"q=%20x",
        "root_path": "",
        "headers": [(b"host", b"example.org"), (b"x-name", b"value"), (b"x-name", b"Second")],
        "client": ("192.0.2.1", 50000),
        "server": ("192.0.2.2", 8000),
        "state": {},
        "extensions": {},
    }
    assert type(scope) is dict
    assert type(scope["headers"]) is list
    assert {type(part) for pair in scope["headers"] for part in pair} == {bytes}
    assert {type(pair) for pair in scope["headers"]} == {tuple}
    assert {type(scope[name]) for name in ("method", "path", "root_path", "http_version", "scheme")} == {str}
    assert {type(scope[name]) for name in ("raw_path", "query_string")} == {bytes}
    assert {type(scope[name]) for name in ("client", "server")} == {tuple}


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        (b"/", "/", b"/", b""),
        (b"/?", "/", b"/", b""),
        (b"/?a?b", "/", b"/", b"a?b"),
        (b"//a", "//a", b"//a", b""),
        (b"/a%2Fb", "/a/b", b"/a%2Fb", b""),
        (b"/100%", "/100%", b"/100%", b""),
        (b"/%25", "/%", b"/%25", b""),
        (b"/%ff", "/�", b"/%ff", b""),
        (b"/a+b;c=d", "/a+b;c=d", b"/a+b;c=d", b""),
        (b"/../a", "/../a", b"/../a", b""),
        (b'/"<>\\^`{|}', '/"<>\\^`{|}', b'/"<>\\^`{|}', b""),
        (b"http://a/b?c", "/b", b"/b", b"c"),
        (b"HTTP://A/b", "/b", b"/b", b""),
        (b"https://a", "/", b"/", b""),
        (b"http://a?c", "/", b"/", b"c"),
    ],
)
async def test_a_target_is_split_into_path_and_query(
    parser: MakeParser, target: bytes, path: str, raw_path: bytes, query: bytes
) -> None:
    scope = await scope_of(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target, parser)
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw_path, query)


async def test_the_star_of_options_is_its_path(parser: MakeParser) -> None:
    scope = await scope_of(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", parser)
    assert (scope["method"], scope["path"], scope["raw_path"]) == ("OPTIONS", "*", b"*")


@pytest.mark.parametrize("host", [b"a", b"a:80", b"a:", b"[::1]:8000", b"127.0.0.1", b"xn--a.example", b""])
async def test_a_valid_host_is_passed_on_as_it_is(parser: MakeParser, host: bytes) -> None:
    scope = await scope_of(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % host, parser)
    assert scope["headers"] == [(b"host", host)]


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "PATCH", "POST", "PUT", "TRACE", "PROPFIND", "QUERY"])
async def test_every_method_is_passed_on(parser: MakeParser, method: str) -> None:
    scope = await scope_of(b"%b / HTTP/1.1\r\nHost: a\r\n\r\n" % method.encode(), parser)
    assert scope["method"] == method


async def test_a_root_path_is_a_part_of_the_path(parser: MakeParser) -> None:
    scope = await scope_of(b"GET /a%20b HTTP/1.1\r\nHost: a\r\n\r\n", parser, root_path="/api")
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/api", "/api/a b", b"/api/a%20b")
    scope = await scope_of(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", parser, root_path="/grüße an/a@b")
    assert (scope["path"], scope["raw_path"]) == ("/grüße an/a@b/a", b"/gr%C3%BC%C3%9Fe%20an/a@b/a")


async def test_a_request_of_no_path_has_no_prefix(parser: MakeParser) -> None:
    scope = await scope_of(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", parser, root_path="/api")
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/api", "*", b"*")


async def test_a_header_may_hold_any_byte_above_ascii(parser: MakeParser) -> None:
    scope = await scope_of(b"GET / HTTP/1.1\r\nHost: a\r\nX: \xe9\xff\tb\r\nY:\r\n\r\n", parser)
    assert scope["headers"] == [(b"host", b"a"), (b"x", b"\xe9\xff\tb"), (b"y", b"")]


async def test_a_trailer_is_kept_out_of_this_scope_and_the_next_one(parser: MakeParser) -> None:
    raw = (
        b"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n"
        b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nHost: b\r\n\r\n"
        b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    outcome = await serve_every_cut(raw, parser, hello)
    assert [scope["headers"] for scope in outcome.scopes] == [
        [(b"host", b"a"), (b"transfer-encoding", b"chunked"), (b"trailer", b"x-sum")],
        [(b"host", b"a")],
    ]


async def test_a_unix_socket_has_no_client_and_its_path_as_server(parser: MakeParser) -> None:
    recorder = Recorder(hello)
    client = Client(make_context(recorder, parser), FakeTransport(peer="", own="/run/app.sock"))
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert recorder.scopes[0]["client"] is None
    assert recorder.scopes[0]["server"] == ("/run/app.sock", None)


async def test_an_unnamed_socket_has_neither_client_nor_server(parser: MakeParser) -> None:
    recorder = Recorder(hello)
    client = Client(make_context(recorder, parser), FakeTransport(peer=None, own=""))
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert recorder.scopes[0]["client"] is None
    assert recorder.scopes[0]["server"] is None


async def test_an_ipv6_address_loses_flow_and_scope(parser: MakeParser) -> None:
    recorder = Recorder(hello)
    transport = FakeTransport(peer=("::1", 50000, 0, 2), own=("::1", 8000, 0, 2))
    client = Client(make_context(recorder, parser), transport)
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert recorder.scopes[0]["client"] == ("::1", 50000)
    assert recorder.scopes[0]["server"] == ("::1", 8000)


async def test_each_request_gets_its_own_copy_of_the_state(parser: MakeParser) -> None:
    recorder = Recorder(hello)
    context = make_context(recorder, parser)
    shared: list[int] = []
    context.state["pool"] = shared
    client = Client(context)
    await client.send(b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
    recorder.scopes[0]["state"]["own"] = True
    await client.send(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert recorder.scopes[1]["state"] == {"pool": shared}
    assert recorder.scopes[1]["state"]["pool"] is shared
    assert context.state == {"pool": shared}
