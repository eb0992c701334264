"""Every case of the corpus against a real server of each parser, over real sockets."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.kit.corpus import CONTINUE, Case, read_cases
from tests.kit.raw_client import RawConnection, connections
from tests.kit.server_process import HERE, PATIENCE, ServerProcess

pytestmark = pytest.mark.e2e

CASES = read_cases()
# Behind each case, so that the server ends the connection in any event and all that came can be read.
LAST = Case(
    *("last", "", "", 200, b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), path="/last", closes=True
)


@pytest.fixture(scope="module", params=["httptools", "h11"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    arguments = ("application:witness", "--app-dir", str(HERE), "--port", "0", "--lifespan", "off")
    # With WebSockets some cases are opening handshakes, or wrong ones.
    server = ServerProcess((*arguments, "--ws", "off", "--http", request.param), tmp_path_factory.mktemp("corpus"))
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.end()


def test_each_case_has_its_outcome_when_it_is_sent_whole(server: ServerProcess) -> None:
    with connections(len(CASES), server.port) as clients:
        for case, client in zip(CASES, clients, strict=True):
            client.socket.sendall(case.request + LAST.request)
        assert_outcomes(clients)
    assert "Traceback" not in server.stderr


def test_each_case_has_its_outcome_when_it_is_sent_in_two_pieces(server: ServerProcess) -> None:
    with connections(len(CASES), server.port) as clients:
        for case, client in zip(CASES, clients, strict=True):
            client.socket.sendall(case.request[: len(case.request) // 2])
        with RawConnection(server.port) as other:
            other.get("/")  # once this is answered, the server has read what was sent before
        for case, client in zip(CASES, clients, strict=True):
            client.socket.sendall(case.request[len(case.request) // 2 :] + LAST.request)
        assert_outcomes(clients)
    assert "Traceback" not in server.stderr


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
