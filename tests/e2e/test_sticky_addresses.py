"""With `--sticky ip` the kernel hands each connection to the worker of its client, so that none has to move."""

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.kit.meanwhile import again_and_again
from tests.kit.server_process import HERE, PATIENCE, ServerProcess, until

pytestmark = pytest.mark.e2e

APP = ("sticky_application:app", "--app-dir", str(HERE), "--no-access-log", "--log-level", "debug")
# A worker that does not get a CPU for a while would count as blocked, and others would get its clients.
FOUR = (*APP, "--workers", "4", "--rescue-after", "60")
CLIENTS = [f"127.0.2.{number}" for number in range(1, 61)]  # each of five workers has some, but for once in 100,000


def ask(address: tuple[str, int], client: str = "") -> int:
    """Which worker serves a new connection to an address, of a client that has this one."""
    with socket.create_connection(address, PATIENCE, (client, 0) if client else None) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    return int(answer.rpartition(b"\r\n")[2].split()[0])


def owners(server: ServerProcess) -> dict[str, int]:
    """Which worker serves each of the clients."""
    return {client: ask(("127.0.0.1", server.port), client) for client in CLIENTS}


def moved(server: ServerProcess) -> int:
    """How many connections were passed from worker to worker; it is logged before they are answered."""
    return server.stderr.count("a connection was handed over to worker ")


@pytest.mark.feature
def test_each_client_of_each_bind_has_one_worker_to_which_no_connection_has_to_move(start: Start) -> None:
    server = start(*FOUR, "-b", "127.0.0.1:0", "-b", "[::1]:0", "--sticky", "ip", "--no-proxy-headers")
    first = owners(server)
    assert set(first.values()) == {1, 2, 3, 4}
    assert owners(server) == first
    port = int(server.wait_for_log(r" http://\[::1\]:(\d+)").group(1))
    assert len({ask(("::1", port)) for _ in range(20)}) == 1
    assert moved(server) == 0
    assert server.stop() == 0


def test_no_connection_moves_with_more_and_fewer_workers_and_after_a_reload(start: Start) -> None:
    server = start(*FOUR, "--port", "0", "--sticky", "ip")
    first = owners(server)
    assert set(first.values()) == {1, 2, 3, 4}
    assert owners(server) == first
    assert moved(server) == 0
    server.signal(signal.SIGTTIN)
    until(lambda: 5 in owners(server).values(), "a fifth worker")
    before, more = moved(server), owners(server)
    assert {owner for client, owner in more.items() if owner != first[client]} == {5}
    assert moved(server) == before
    server.signal(signal.SIGTTOU)
    server.wait_for_log(r"worker 5 .*exit")
    assert owners(server) == first
    seen: list[tuple[str, int]] = []
    with again_and_again(lambda: seen.extend(owners(server).items())):
        server.signal(signal.SIGHUP)
        server.wait_for_log("reloaded in ")
    assert {(client, owner) for client, owner in seen if owner != first[client]} == set()
    before = moved(server)
    assert owners(server) == first
    assert moved(server) == before
    assert server.stop() == 0
    assert " ERROR " not in server.stderr


def test_where_everybody_is_a_proxy_the_workers_move_the_connections(start: Start) -> None:
    server = start(*FOUR, "--port", "0", "--sticky", "ip", "--forwarded-allow-ips", "*")
    first = owners(server)
    assert set(first.values()) == {1, 2, 3, 4}
    assert owners(server) == first
    assert moved(server) > len(CLIENTS)  # 3 of 4, of twice as many
    assert server.stop() == 0


def test_a_reload_begins_it(start: Start, tmp_path: Path) -> None:
    options = tmp_path / "corehttp.toml"
    options.write_text('sticky = ["header:x-key"]')
    server = start(*FOUR, "--port", "0")
    options.write_text('sticky = ["ip"]')
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded in ")
    before, first = moved(server), owners(server)
    assert set(first.values()) == {1, 2, 3, 4}
    assert owners(server) == first
    assert moved(server) == before
    assert server.stop() == 0


def test_a_new_supervisor_takes_it_over(start: Start) -> None:
    server = start(*FOUR, "--port", "0", "--sticky", "ip")
    first, port = owners(server), server.port
    server.signal(signal.SIGUSR2)
    successor = int(server.wait_for_log(r"a new supervisor \(pid (\d+)\) is starting").group(1))
    assert server.wait() == 0
    before = moved(server)
    assert server.port == port
    assert owners(server) == first
    assert moved(server) == before
    os.kill(successor, signal.SIGTERM)
    until(lambda: not server.processes(), "the end of the successor")
