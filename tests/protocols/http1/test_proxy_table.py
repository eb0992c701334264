"""The conformance table of what proxies say (`tests/protocols/proxies.toml`), as every part of the server shows it.

Each case is a request and a WebSocket's handshake, through both parsers; a request is sent again on its connection, and
once more with another target, so that what is remembered of heads and verdicts is held to the same table.
"""

import logging
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from corehttp.asgi import Scope
from corehttp.protocols.context import WorkerContext
from corehttp.protocols.field_names import PROXY_FIELDS
from corehttp.protocols.observers import AccessRecord
from corehttp.protocols.peer import Trust
from corehttp.protocols.sticky_keys import client_address
from corehttp.proxy_options import FORWARDED_FIELDS
from tests.kit.apps import Recorder, answer, hello
from tests.kit.fakes import Client, FakeTransport, MakeParser, make_context
from tests.kit.websocket_client import ACCEPT, CONNECT, Puppet, WebSocketClient, handshake, websocket_context

TABLE = Path(__file__).parents[1] / "proxies.toml"
PEER = "10.0.0.1"
PORT = 40000
OWN = ("10.0.0.9", 8000)
UNIX = "/run/app.sock"


@dataclass
class Case:
    """A row of the table."""

    said: list[str]
    peer: str = PEER
    allow: str = "10.0.0.0/8"
    fields: str = PROXY_FIELDS
    hops: int = 0
    client: list[str | int] = field(default_factory=lambda: [PEER, PORT])
    scheme: str = "http"
    server: list[str | int] = field(default_factory=lambda: list(OWN))
    host: str = "inner"
    root_path: str = ""
    passed: list[str] | None = None  # names of the fields that the application sees; None: all that were sent

    @property
    def lines(self) -> list[bytes]:
        return [line.encode() for line in self.said]

    @property
    def names(self) -> list[str]:
        sent = [line.partition(":")[0].lower() for line in self.said]
        return sent if self.passed is None else self.passed

    @property
    def logged(self) -> str:
        host, port = self.client
        return f"{f'[{host}]' if ':' in str(host) and port else host}{f':{port}' if port else ''}"

    def transport(self) -> FakeTransport:
        peer, own = ("", UNIX) if self.peer == "unix" else ((self.peer, PORT), OWN)
        return FakeTransport(peer=peer, own=own)

    def trust(self, context: WorkerContext) -> WorkerContext:
        """Let a context trust as the case says."""
        context.trust = Trust(self.allow, str(FORWARDED_FIELDS.parse(self.fields)), self.hops)
        return context

    def check(self, scope: Scope, path: str) -> None:
        names = [name.decode() for name, _ in scope["headers"] if b"forwarded" in name or name == b"x-real-ip"]
        assert {
            "client": list(scope["client"]),
            "scheme": scope["scheme"],
            "root_path": scope["root_path"],
            "path": scope["path"],
            "host": dict(scope["headers"])[b"host"].decode(),
            "names": names,
        } == {
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "path": self.root_path + path,
            "host": self.host,
            "names": self.names,
        }
        if self.peer != "unix":
            assert list(scope["server"]) == self.server


CASES = {name: Case(**row) for name, row in tomllib.loads(TABLE.read_text()).items()}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def get(case: Case, target: bytes) -> bytes:
    return b"\r\n".join([b"GET %b HTTP/1.1" % target, b"Host: inner", *case.lines, b"", b""])


@each_case
async def test_a_request_has_the_same_sender_for_application_log_and_sticky_rule(
    case: Case, parser: MakeParser
) -> None:
    records: list[AccessRecord] = []
    app = Recorder(hello)
    client = Client(case.trust(make_context(app, parser, records=records)), case.transport())
    targets = [b"/a", b"/a", b"/a", b"/b", b"/b"]
    for target in targets:
        await client.send(get(case, target))
    assert client.received == answer(b"hello") * len(targets)
    for target, scope, record in zip(targets, app.scopes, records, strict=True):
        case.check(scope, target.decode())
        assert client_address(scope) == str(case.client[0]).encode()  # to which --sticky ip ties the request
        assert record[0] == case.logged


@each_case
async def test_a_refused_request_is_logged_with_the_same_sender(
    case: Case, parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    client = Client(case.trust(make_context(hello, parser)), case.transport())
    await client.send(get(case, b"/").replace(b"Host: inner", b"Host: a b"))
    assert client.received.startswith(b"HTTP/1.1 400 ")
    assert f"refused a request from {case.logged}: " in error_log[-1].getMessage()


@each_case
async def test_a_websocket_has_the_same_sender(case: Case, parser: MakeParser) -> None:
    app = Puppet()
    records: list[AccessRecord] = []
    context = case.trust(websocket_context(app, parser, records=records))
    client = WebSocketClient(context, case.transport())
    await client.send(handshake(*case.lines).replace(b"Host: a", b"Host: inner"))
    assert app.scope["scheme"] == ("wss" if case.scheme == "https" else "ws")
    case.check({**app.scope, "scheme": case.scheme}, "/ws")
    assert await app.receive() == CONNECT
    await app.send(ACCEPT)
    app.end()
    await client.wait()
    assert records[0][0] == case.logged
