"""What proxies say, as an application, the access log and the log lines show it; the rules are in `test_peer`."""

import logging

import pytest

from corehttp.asgi import Receive, Scope, Send
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.distrust import SILENCE
from corehttp.protocols.limits import Limits
from corehttp.protocols.observers import AccessRecord
from corehttp.protocols.websocket.upgrade import recognizer
from corehttp.protocols.websocket.writer import Settings
from tests.kit.apps import Recorder, answer, hello
from tests.kit.cuts import serve_every_cut
from tests.kit.fakes import WALL, Client, FakeTransport, MakeParser, make_context, pass_time
from tests.kit.websocket_client import Puppet, WebSocketClient, accepted, closings, handshake, masked, websocket_context

PROXY = ("10.0.0.1", 40000)
OWN = ("10.0.0.9", 8000)
TRUSTED = "10.0.0.0/8,unix"


def get(*fields: bytes, target: bytes = b"/a%20b?c", host: bytes = b"inner") -> bytes:
    lines = [b"GET %b HTTP/1.1" % target, b"Host: " + host, *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def for_(client: bytes) -> bytes:
    return b"X-Forwarded-For: " + client


ALL = (
    *(for_(b"1.1.1.1, 203.0.113.7"), b"X-FORWARDED-PROTO: https", b"x-forwarded-host: example.org"),
    *(b"X-Forwarded-Port: 8443", b"X-Forwarded-Prefix: /api"),
)
SPOOFED = (
    *ALL,
    b"Forwarded: for=1.1.1.1",
    b"X-Real-IP: 1.1.1.1",
    b"X_Forwarded_For: 1.1.1.1",
    b"X-Forwarded-User: root",
)


def messages(log: list[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in log]


class Served:
    """A server, and connections to it from a peer."""

    def __init__(
        self,
        parser: MakeParser,
        *,
        trust: str | None = TRUSTED,
        root_path: str = "",
        peer: object = PROXY,
        own: object = OWN,
        limits: Limits | None = None,
    ) -> None:
        self.app = Recorder(hello)
        self.records: list[AccessRecord] = []
        self.context: WorkerContext = make_context(
            self.app,
            parser,
            trust=trust,
            root_path=root_path,
            records=self.records,
            limits=limits or Limits(),
        )
        self._peer, self._own = peer, own

    def connect(self) -> Client:
        return Client(self.context, FakeTransport(peer=self._peer, own=self._own))

    async def scope(self, *fields: bytes) -> Scope:
        """The scope of a request with these fields."""
        client = self.connect()
        await client.send(get(*fields))
        assert client.received == answer(b"hello")
        return self.app.scopes[-1]


async def test_a_trusted_proxy_says_who_the_client_is_and_where_it_thinks_it_is(parser: MakeParser) -> None:
    scope = await Served(parser, root_path="/given").scope(*ALL)
    assert scope["client"] == ("203.0.113.7", 0)
    assert scope["scheme"] == "https"
    assert scope["server"] == ("example.org", 8443)
    assert scope["root_path"] == "/api"
    assert (scope["path"], scope["raw_path"]) == ("/api/a b", b"/api/a%20b")
    assert scope["query_string"] == b"c"
    assert scope["headers"] == [
        (b"host", b"example.org:8443"),
        (b"x-forwarded-for", b"1.1.1.1, 203.0.113.7"),
        (b"x-forwarded-proto", b"https"),
        (b"x-forwarded-host", b"example.org"),
        (b"x-forwarded-port", b"8443"),
        (b"x-forwarded-prefix", b"/api"),
    ]


@pytest.mark.parametrize("name", [b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Forwarded-Host", b"X-Forwarded-Prefix"])
async def test_each_is_believed_without_the_others(parser: MakeParser, name: bytes) -> None:
    said = next(field for field in ALL if field.lower().startswith(name.lower()))
    usual = await Served(parser).scope()
    scope = await Served(parser).scope(said)
    expected = {
        b"For": {"client"},
        b"Proto": {"scheme"},
        b"Host": {"server"},
        b"Prefix": {"root_path", "path", "raw_path"},
    }
    changed = {key for key in usual if scope[key] != usual[key]}
    assert changed == {*expected[name.rpartition(b"-")[2]], "headers"}


async def test_of_anybody_else_nothing_is_believed_nor_passed_on(parser: MakeParser) -> None:
    served = Served(parser, peer=("192.0.2.1", 5), root_path="/given")
    usual = await served.scope(b"A_B: 1")
    scope = await served.scope(*SPOOFED, b"A_B: 1")
    assert {key: scope[key] for key in usual if key not in ("state", "extensions")} == {
        key: usual[key] for key in usual if key not in ("state", "extensions")
    }


async def test_where_proxy_headers_are_off_fields_are_passed_on_and_nothing_is_made_of_them(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    usual = await Served(parser, trust=None).scope()
    scope = await Served(parser, trust=None).scope(*SPOOFED)
    assert {key for key in usual if scope[key] != usual[key]} == {"headers"}
    assert len(scope["headers"]) == 1 + len(SPOOFED)
    assert not error_log


async def test_a_unix_peer_is_trusted_where_it_is_named(parser: MakeParser) -> None:
    for trust, client in ((TRUSTED, ("203.0.113.7", 0)), ("*", ("203.0.113.7", 0)), ("10.0.0.0/8", None)):
        served = Served(parser, trust=trust, peer="", own="/run/app.sock")
        assert (await served.scope(*ALL[:1]))["client"] == client


async def test_each_request_of_a_connection_has_its_own_client(parser: MakeParser) -> None:
    served = Served(parser)
    client = served.connect()
    hosts = ["203.0.113.1", "203.0.113.2", None, "203.0.113.1"]
    requests = [get(*([] if host is None else [for_(host.encode())]), target=b"/") for host in hosts]
    await client.send(b"".join(requests), *requests)
    assert client.received == answer(b"hello") * 8
    expected = [PROXY if host is None else (host, 0) for host in hosts] * 2
    assert [scope["client"] for scope in served.app.scopes] == expected
    names = ["10.0.0.1:40000" if host is None else host for host in hosts] * 2
    assert [record[0] for record in served.records] == names


async def test_it_is_the_same_however_a_request_is_cut(parser: MakeParser) -> None:
    outcome = await serve_every_cut(get(*SPOOFED), parser, hello)  # from a peer that is not trusted
    assert [name for name, _ in outcome.scopes[0]["headers"]] == [b"host"]


async def test_the_host_that_a_proxy_says_does_not_make_up_for_a_wrong_one(parser: MakeParser) -> None:
    client = Served(parser).connect()
    await client.send(get(*ALL, host=b"a b"))
    assert client.received.startswith(b"HTTP/1.1 400 ")


async def test_what_an_application_makes_of_its_scope_is_not_logged(parser: MakeParser) -> None:
    served = Served(parser)

    async def forge(scope: Scope, receive: Receive, send: Send) -> None:
        scope["client"] = ("1.1.1.1", 1)
        await hello(scope, receive, send)

    served.context.app = forge
    await served.connect().send(get(for_(b"203.0.113.7")))
    assert [record[0] for record in served.records] == ["203.0.113.7"]


# Log lines.


async def test_a_peer_that_is_not_trusted_is_named_once_with_what_to_do(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    served = Served(parser, peer=("192.0.2.1", 5))
    await served.scope()
    assert not error_log
    for _ in range(3):
        await served.scope(for_(b"1.1.1.1"), for_(b"1.1.1.2"), b"X_REAL_IP: 1.1.1.1")
    (message,) = messages(error_log)
    assert message == (
        "192.0.2.1:5 is no trusted proxy, so what it says in x-forwarded-for, x_real_ip is removed; if it is yours, "
        "add 192.0.2.1 to --forwarded-allow-ips (said once an hour)"
    )
    served.context.clock.update(served.context.clock.now + SILENCE, WALL)
    await served.scope(for_(b"1.1.1.1"))
    assert len(error_log) == 2


async def test_the_warning_about_a_unix_peer_says_how_to_trust_it(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    await Served(parser, trust="10.0.0.0/8", peer="", own="/run/app.sock").scope(for_(b"1.1.1.1"))
    (message,) = messages(error_log)
    assert message.startswith("a peer on the unix socket is no trusted proxy, so what it says in x-forwarded-for is ")
    assert "add unix to --forwarded-allow-ips" in message


async def test_a_peer_that_left_before_it_could_be_named_spends_nobodys_warning(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    served = Served(parser, peer=None)
    assert b"x-forwarded-for" not in dict((await served.scope(for_(b"1.1.1.1")))["headers"])
    assert not error_log
    served._peer = ("192.0.2.1", 5)
    await served.scope(for_(b"1.1.1.1"))
    assert "add 192.0.2.1 to" in messages(error_log)[0]


@pytest.mark.parametrize(
    "raw",
    [
        get(for_(b"203.0.113.7"), host=b"a b"),
        get(for_(b"203.0.113.7"), b"Content-Length: x"),
        get(for_(b"203.0.113.7"), b"Content-Length: 999"),
        get(for_(b"203.0.113.7"), b"no colon"),
        get(for_(b"203.0.113.7"), b"Transfer-Encoding: chunked") + b"x\r\n",
    ],
    ids=["host", "framing", "too large", "form", "body"],
)
async def test_a_refusal_names_the_client_behind_the_proxy(
    parser: MakeParser, raw: bytes, error_log: list[logging.LogRecord]
) -> None:
    await Served(parser, limits=Limits(request_body=100)).connect().send(raw)
    (message,) = messages(error_log)
    assert message.startswith("refused a request from 203.0.113.7: ")


async def test_a_refusal_names_nobody_whom_an_untrusted_peer_invents(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    await Served(parser, peer=("192.0.2.1", 5)).connect().send(get(for_(b"203.0.113.7"), host=b"a b"))
    (message,) = messages(error_log)
    assert message.startswith("refused a request from 192.0.2.1:5: ")


async def test_a_request_that_takes_too_long_is_logged_with_its_client(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    served = Served(parser, limits=Limits(request=3))

    async def wait(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    served.context.app = wait
    await served.connect().send(get(for_(b"203.0.113.7")))
    await pass_time(served.context, 5)
    (message,) = messages(error_log)
    assert " from 203.0.113.7 took longer than 3 s" in message


# WebSockets.


async def test_a_websocket_is_told_of_the_client_and_of_tls(parser: MakeParser) -> None:
    for fields, scheme in (
        (ALL, "wss"),
        ((), "ws"),
        ((b"X-Forwarded-Proto: http",), "ws"),
        ((b"X-Forwarded-Proto: wss",), "wss"),
    ):
        app = Puppet()
        context = websocket_context(app, parser, trust="192.0.2.0/24", records=[])
        client = await accepted(app, context, *fields)
        scope = app.scope
        assert scope["scheme"] == scheme
        if fields is ALL:
            assert scope["client"] == ("203.0.113.7", 0)
            assert scope["server"] == ("example.org", 8443)
            assert (scope["root_path"], scope["path"]) == ("/api", "/api/ws")
            assert dict(scope["headers"])[b"host"] == b"example.org:8443"
        app.end()
        await client.wait()


async def test_log_lines_of_a_websocket_name_the_client(parser: MakeParser, error_log: list[logging.LogRecord]) -> None:
    app = Puppet()
    records: list[AccessRecord] = []
    context = websocket_context(app, parser, trust="192.0.2.0/24", records=records)
    client = await accepted(app, context, for_(b"203.0.113.7"), b"X-Forwarded-Prefix: /gr%C3%BC")
    app.scope["client"] = ("1.1.1.1", 1)
    await client.send(masked(0x3, b""))  # a frame that there is not
    app.end()
    await client.lose()
    assert [message.partition(":")[0] for message in messages(error_log)] == ["closed a WebSocket of 203.0.113.7"]
    assert records[0][0] == "203.0.113.7"
    assert [record[2] for record in records] == [path for path, _, _ in closings(context)] == ["/ws"]


async def test_one_websocket_too_many_is_refused_with_the_name_of_its_client(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    context = websocket_context(Puppet(), parser, trust="192.0.2.0/24")
    context.websocket_limit = 0
    await WebSocketClient(context).send(handshake(for_(b"203.0.113.7")))
    (message,) = messages(error_log)
    assert message.startswith("refused a request from 203.0.113.7: there are 0 WebSockets already")


async def test_a_wrong_handshake_is_refused_with_the_name_of_its_client(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    served = Served(parser)
    served.context.recognize_upgrade = recognizer(served.context, Settings(), "off")
    client = served.connect()
    await client.send(handshake(for_(b"203.0.113.7")).replace(b"Version: 13", b"Version: 12"))
    assert client.received.startswith(b"HTTP/1.1 426 ")
    (message,) = messages(error_log)
    assert message.startswith("refused a request from 203.0.113.7: ")
