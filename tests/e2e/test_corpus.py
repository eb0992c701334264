"""Every case of the corpus against a real server of each parser, over real sockets and over TLS."""

import contextlib
import json
import ssl
import time
from collections.abc import Iterator

import pytest

from tests.kit.certificates import Authority
from tests.kit.corpus import CONTINUE, Case, read_cases
from tests.kit.raw_client import RawConnection, connections
from tests.kit.server_process import HERE, PATIENCE, ServerProcess

pytestmark = pytest.mark.e2e

CASES = read_cases()
# Behind each case, so that the server ends the connection in any event and all that came can be read.
LAST = Case(
    *("last", "", "", 200, b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), path="/last", closes=True
)


class Wire:
    """A server, and how its clients speak to it."""

    def __init__(self, server: ServerProcess, context: ssl.SSLContext | None) -> None:
        self.server = server
        self._context = context

    @contextlib.contextmanager
    def connections(self, count: int) -> Iterator[list[RawConnection]]:
        """So many connections, all of which are closed at the end."""
        with connections(count, self.server.port) as clients:
            if self._context is not None:
                for client in clients:
                    client.socket = self._context.wrap_socket(client.socket, server_hostname="127.0.0.1")
            yield clients


@pytest.fixture(
    scope="module",
    params=[*(pytest.param(name, marks=pytest.mark.feature) for name in ("httptools", "h11")), "httptools over TLS"],
)
def wire(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    directory = tmp_path_factory.mktemp("corpus")
    parser, *over_tls = request.param.split(" over ")
    arguments = ["application:witness", "--app-dir", str(HERE), "--port", "0", "--lifespan", "off", "--http", parser]
    context = None
    if over_tls:
        authority = Authority()
        certificate, key = authority.issue("127.0.0.1").write(directory)
        arguments += ["--ssl-certfile", certificate, "--ssl-keyfile", key]
        context = ssl.create_default_context(cadata=authority.pem.decode())
    # With WebSockets some cases are opening handshakes, or wrong ones.
    server = ServerProcess((*arguments, "--ws", "off"), directory)
    try:
        server.wait_until_ready()
        yield Wire(server, context)
    finally:
        server.end()


def test_each_case_has_its_outcome_when_it_is_sent_whole(wire: Wire) -> None:
    with wire.connections(len(CASES)) as clients:
        for case, client in zip(CASES, clients, strict=True):
            client.socket.sendall(case.request + LAST.request)
        assert_outcomes(clients)
    assert "Traceback" not in wire.server.stderr


def test_each_case_has_its_outcome_when_it_is_sent_in_two_pieces(wire: Wire) -> None:
    with wire.connections(len(CASES)) as clients:
        for case, client in zip(CASES, clients, strict=True):
            client.socket.sendall(case.request[: len(case.request) // 2])
        with wire.connections(1) as others:
            others[0].get("/")  # once this is answered, the server has read what was sent before
        for case, client in zip(CASES, clients, strict=True):
            client.socket.sendall(case.request[len(case.request) // 2 :] + LAST.request)
        assert_outcomes(clients)
    assert "Traceback" not in wire.server.stderr


def assert_outcomes(clients: list[RawConnection]) -> None:
    wrong = []
    deadline = time.monotonic() + PATIENCE  # for all of them, since a server that waits for more may do so in many
    for case, client in zip(CASES, clients, strict=True):
        client.socket.settimeout(max(deadline - time.monotonic(), 0.01))
        try:
            assert_outcome(case, client.rest())
        except (AssertionError, OSError) as error:
            wrong.append(f"{case.name}: {str(error).partition(chr(10))[0]:.200}")
    assert not wrong, "\n".join(wrong)


def assert_outcome(case: Case, received: bytes) -> None:
    """All that was `received` are the right answers to the case and, unless it ends the connection, to LAST."""
    for asked in [case] if case.last else [case, LAST]:
        if asked.continues:
            received = received.removeprefix(CONTINUE)
        received = after_answer(asked, received)
    assert not received, "more answers than requests"


def after_answer(case: Case, received: bytes) -> bytes:
    head, _, rest = received.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines[0].startswith(b"http/1.1 %d " % case.status), f"not {case.status}, but {lines[0]!r}"
    assert (b"connection: close" in lines) is case.last, f"the connection is kept, or not: {lines}"
    if case.expected_method == "HEAD":
        return rest
    length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
    body, rest = rest[:length], rest[length:]
    if not case.accepted:
        assert body.strip()
        assert body.endswith(b"\n")
        return rest
    told = json.loads(body)
    assert (told["method"], told["path"]) == (case.expected_method, case.path)
    assert told["query"].encode("latin-1") == case.query
    assert told["body"].encode("latin-1") == case.body
    if case.fields is not None:
        assert [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told["fields"]] == case.fields
    return rest
