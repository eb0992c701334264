"""One worker's end: who is still served, and what its account says."""

import asyncio
import socket

import pytest

from corehttp.config import Config
from corehttp.errors import ExitCode
from corehttp.sockets import listening
from corehttp.sockets.endpoint import endpoints
from corehttp.worker import worker as worker_module
from corehttp.worker.worker import Worker
from tests.kit.apps import hello
from tests.kit.connections import on_both_loops
from tests.kit.fakes import TURNS

QUESTION = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@on_both_loops
async def test_a_client_whose_handshake_is_under_way_when_a_stop_begins_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_module, "HANDSHAKES", 2.0)  # time enough on a machine that is busy
    config = Config(app=hello, host="0.0.0.0", port=0, lifespan="off", supervise=False, access_log=False)
    [sockets] = listening.bind(endpoints(config), 1, reuseport=False)
    # The last packet of a handshake counts as lost for as long as the client sends nothing (tcp(7)).
    sockets[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 10)
    worker = Worker(hello, config, sockets)
    await worker.start()
    port = sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    stopped = asyncio.ensure_future(worker.stop())
    for _ in range(TURNS):
        await asyncio.sleep(0)
    writer.write(QUESTION)
    answer = await reader.read()
    assert answer.endswith(b"hello")
    assert b"\r\nconnection: close\r\n" in answer
    writer.close()
    assert await stopped is ExitCode.CLEAN


@pytest.mark.parametrize(
    ("host", "remote"),
    [("127.0.0.1", False), ("0.0.0.0", True), ("::1", False), ("::", True)],
)
def test_over_the_loopback_no_handshake_is_under_way(host: str, remote: bool) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        assert listening.is_remote(sock) is remote


def test_a_unix_socket_has_no_handshake() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        assert not listening.is_remote(sock)
