"""The service's side of the control socket: nothing that a client does holds up the service or another client."""

import contextlib
import errno
import itertools
import json
import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corehttp.control import socket_path
from corehttp.control.access import Access, Caller, Rules
from corehttp.control.connection import LONGEST_QUEUE, OperatorConnection
from corehttp.control.control_socket import ControlSocket, OwnedPath
from corehttp.control.server import CLIENTS, RETRY, SILENT_SECONDS, ControlServer
from corehttp.moments import NEVER
from tests.control.polling import FakePoller

ASK = b'{"verb": "status"}\n'
PIECES = [ASK, b"\n", b'{"verb":', b'"status"}', b"[" * 9000]


class Service:
    """A control server, and how it answers: with `answer`, or not before the test does."""

    def __init__(self, directory: Path, rules: Rules) -> None:
        path = str(directory / "c.sock")
        self.sock = ControlSocket(socket_path.bind(path, 0o600, None), (), [])
        self.sock._paths.append(OwnedPath.of(path))
        self.poller = FakePoller()
        self.server = ControlServer(self.sock, rules, self.poller)
        self.asked: list[OperatorConnection] = []
        self.answer: dict[str, object] | None = {"state": "serving"}
        self.server.begin(self._on_request)

    def _on_request(self, client: OperatorConnection) -> None:
        self.asked.append(client)
        if self.answer is not None:
            client.result(self.answer)

    def connect(self, data: bytes = b"") -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(self.sock.path)
        client.setblocking(False)
        client.sendall(data)
        self.turn()
        return client

    def turn(self, seconds: float = 0.0) -> None:
        """Pass some time, and let the service do what is to be done then."""
        self.poller.time += seconds
        self.poller.turn()
        self.server.look()
        self.poller.turn()
        self.server.look()

    @property
    def clients(self) -> int:
        return len(self.poller.channels)


def read(client: socket.socket) -> list[dict[str, Any]]:
    """All that has come, and the end; closes the client."""
    with client:
        received = bytearray()
        try:
            while data := client.recv(65536):
                received += data
        except ConnectionError:
            pass
    return [json.loads(line) for line in received.splitlines()]


def read_on(service: Service, client: socket.socket, seconds: float) -> list[dict[str, Any]]:
    """Read all as `read` does, while the server, in turns of so many seconds, sends more of it."""
    with client:
        received = bytearray()
        for _ in range(100):
            service.turn(seconds)
            try:
                data = client.recv(65536)
            except BlockingIOError:
                continue
            if not data:
                break
            received += data
    return [json.loads(line) for line in received.splitlines()]


@pytest.fixture
def service(directory: Path) -> Iterator[Service]:
    service = Service(directory, Rules(os.geteuid()))
    yield service
    service.server.end()
    assert not service.poller.readers
    assert not list(directory.iterdir())


def test_a_request_is_answered_in_one_turn_and_the_connection_ends(service: Service) -> None:
    client = service.connect(ASK)
    assert read(client) == [{"kind": "result", "schema": 1, "state": "serving"}]
    assert service.asked[0].verb == "status"
    assert service.asked[0].who == f"uid {os.geteuid()}, pid {os.getpid()}"
    assert service.clients == 0
    assert service.server.due() == NEVER


def test_a_request_may_come_byte_by_byte(service: Service) -> None:
    client = service.connect()
    for byte in ASK:
        assert not service.asked
        client.sendall(bytes([byte]))
        service.turn()
    assert read(client)[0]["kind"] == "result"


def test_the_last_line_needs_no_end(service: Service) -> None:
    client = service.connect(ASK.removesuffix(b"\n"))
    service.turn()
    assert not service.asked
    client.shutdown(socket.SHUT_WR)
    service.turn()
    assert [line["kind"] for line in read_on(service, client, RETRY)] == ["result"]


def test_progress_comes_before_the_end_and_nothing_after_it(service: Service) -> None:
    service.answer = None
    client = service.connect(ASK)
    [asked] = service.asked
    asked.progress({"text": "one"})
    service.turn(1000)
    asked.result({"text": "two"})
    asked.progress({"text": "late"})
    asked.refuse("failed", "late")
    service.turn()
    assert [line["kind"] for line in read(client)] == ["progress", "result"]
    assert service.clients == 0


def test_who_says_nothing_is_let_go_after_five_seconds(service: Service) -> None:
    client = service.connect(b'{"verb": ')
    assert service.server.due() == 105.0
    service.turn(4.9)
    assert service.clients == 1
    service.turn(0.1)
    assert service.clients == 0
    assert read(client) == [{"kind": "error", "schema": 1, "fault": "late", "reason": "no request has come within 5 s"}]


def test_what_is_no_request_is_answered(service: Service) -> None:
    assert read(service.connect(b"GET / HTTP/1.1\r\n"))[0]["fault"] == "usage"
    client = service.connect(b"x" * 65536)
    assert service.clients == 1
    client.sendall(b"x")
    service.turn()
    assert read(client)[0]["reason"] == "a request of more than 65536 bytes"
    assert not service.asked


def test_a_second_request_ends_the_connection(service: Service) -> None:
    service.answer = None
    client = service.connect(ASK)
    client.sendall(ASK)
    service.turn()
    assert service.asked[0].gone
    service.asked[0].result({})
    assert read(client) == []
    assert len(service.asked) == 1


def test_who_ends_its_side_gets_the_whole_answer_all_the_same(service: Service) -> None:
    service.answer = None
    client = service.connect(ASK)
    client.shutdown(socket.SHUT_WR)
    service.turn()
    [asked] = service.asked
    assert (asked.gone, service.clients) == (False, 0), "it is kept, and not watched"
    asked.progress({"text": "half"})
    asked.result({"text": "x" * 2**20})
    assert service.server.due() == service.poller.now() + RETRY
    assert [line["kind"] for line in read_on(service, client, RETRY)] == ["progress", "result"]
    assert service.server.due() == NEVER


def test_who_ends_its_side_and_takes_nothing_is_let_go(service: Service) -> None:
    service.answer = {"text": "x" * 2**20}
    client = service.connect(ASK)
    client.shutdown(socket.SHUT_WR)
    service.turn()
    service.turn(5.1)
    assert service.server.due() == NEVER
    client.close()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.binary(max_size=200) | st.sampled_from([ASK, b"\n", b'{"verb":', b'"status"}', b"[" * 9000]), max_size=6
    ),
    st.lists(st.sampled_from(["turn", "wait", "end", "answer"]), max_size=6),
)
def test_whatever_a_client_sends_and_does_another_one_is_answered(pieces: list[bytes], acts: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="corehttp-", dir="/tmp") as directory:
        service = Service(Path(directory), Rules(os.geteuid()))
        service.answer = None
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(service.sock.path)
            client.setblocking(False)
            for piece, act in itertools.zip_longest(pieces, acts, fillvalue=None):
                with contextlib.suppress(OSError):  # the service may have ended the connection
                    client.send(piece if isinstance(piece, bytes) else b"")
                match act:
                    case "turn":
                        service.turn()
                    case "wait":
                        service.turn(6.0)
                    case "end":
                        with contextlib.suppress(OSError):
                            client.shutdown(socket.SHUT_WR)
                    case "answer":
                        for asked in service.asked:
                            asked.result({"text": "x" * 300000})
                    case _:
                        pass
            service.answer = {"state": "serving"}
            assert read(service.connect(ASK))[0]["state"] == "serving"
        service.turn(6.0)
        for asked in service.asked:
            asked.result({})
        service.turn(6.0)
        assert service.clients == 0
        assert service.server.due() == NEVER
        service.server.end()


def test_who_leaves_is_forgotten(service: Service) -> None:
    service.answer = None
    service.connect().close()
    service.connect(ASK).close()
    service.turn()
    assert service.clients == 0
    assert service.asked[0].gone


def test_there_are_so_many_clients_and_no_more(service: Service) -> None:
    clients = [service.connect() for _ in range(CLIENTS)]
    assert service.clients == CLIENTS
    assert read(service.connect(ASK)) == [
        {"kind": "error", "schema": 1, "fault": "busy", "reason": "16 clients are connected already"}
    ]
    assert service.clients == CLIENTS
    clients.pop().close()
    service.turn()
    assert read(service.connect(ASK))[0]["kind"] == "result"
    for client in clients:
        client.close()


def test_who_has_sent_no_request_for_longest_makes_room_for_one_that_asks(service: Service) -> None:
    service.answer = None
    asking = service.connect(ASK)
    silent = []
    for _ in range(CLIENTS - 1):
        silent.append(service.connect(b'{"verb": '))
        service.turn(0.01)
    assert read(service.connect(ASK))[0]["fault"] == "busy", "a client that has just come has time to ask"
    service.turn(SILENT_SECONDS)
    service.answer = {"state": "serving"}
    for _ in range(3):
        assert read(service.connect(ASK))[0]["state"] == "serving"
    assert read(silent[0]) == [
        {
            "kind": "error",
            "schema": 1,
            "fault": "busy",
            "reason": "another client needs the place of this one, which has sent no request",
        }
    ]
    silent.append(service.connect(b"{"))
    service.turn(SILENT_SECONDS)
    assert read(service.connect(ASK))[0]["state"] == "serving"
    assert read(silent[1])[0]["fault"] == "busy"
    with pytest.raises(BlockingIOError):
        silent[2].recv(1)
    service.asked[0].result({})
    service.turn()
    assert read(asking)[0]["kind"] == "result"
    for client in silent:
        client.close()


def test_any_number_of_clients_that_send_no_request_keep_out_nobody(service: Service) -> None:
    silent = []
    for _ in range(4 * CLIENTS):
        silent.append(service.connect(b"{"))
        service.turn(0.05)
    service.turn(SILENT_SECONDS)
    assert read(service.connect(ASK))[0]["state"] == "serving"
    for client in silent:
        client.close()


def test_a_long_answer_waits_until_the_client_takes_it(service: Service) -> None:
    service.answer = {"text": "x" * 2**20}
    client = service.connect(ASK)
    assert service.clients == 1
    [answer] = read_on(service, client, 1.0)  # who takes something is not late, however long it takes for all
    assert answer["text"] == "x" * 2**20
    assert service.clients == 0


def test_who_takes_nothing_of_a_long_answer_is_let_go(service: Service) -> None:
    service.answer = {"text": "x" * 2**20}
    client = service.connect(ASK)
    service.turn(4.9)
    assert service.clients == 1
    service.turn(0.2)
    assert service.clients == 0
    client.close()


def test_an_answer_has_a_bound(service: Service) -> None:
    service.answer = {"text": "x" * LONGEST_QUEUE}
    client = service.connect(ASK)
    assert service.clients == 0
    client.close()


def test_without_descriptors_it_pauses_and_goes_on(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accept = service.sock.accept

    def fail() -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(service.sock, "accept", fail)
    client = service.connect(ASK)
    assert "the control socket takes nobody for a while: this process has opened all the files" in caplog.text
    assert service.server.due() == 101.0
    monkeypatch.setattr(service.sock, "accept", accept)
    service.turn(1.0)
    assert read(client)[0]["kind"] == "result"


def test_who_was_handed_on_listens_no_more_but_finishes_what_it_has(service: Service) -> None:
    service.answer = None
    client = service.connect(ASK)
    service.server.hand_on()
    service.server.hand_on()
    service.asked[0].result({})
    service.turn()
    assert read(client)[0]["kind"] == "result"


def test_strangers_are_refused_and_told_of_once(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    service = Service(directory, Rules(4711))
    if os.geteuid() == 0:  # root may do everything
        service.server._rules = NobodyMay(4711)
    for _ in range(3):
        [line] = read(service.connect(ASK))
        assert line["fault"] == "forbidden"
    assert not service.asked
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.WARNING
    service.server.end()


class NobodyMay(Rules):
    """Rules that refuse root as well."""

    def allow(self, caller: Caller, access: Access) -> bool:
        return False
