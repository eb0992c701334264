"""A service with several binds: it serves, reloads, is upgraded and stops on all of them."""

import os
import signal
import socket
from pathlib import Path

import pytest

from tests.kit.changing import ChangingApp
from tests.kit.extent import varied
from tests.kit.ports import free_port, free_ports
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import PATIENCE, ServerProcess, refused, until

pytestmark = pytest.mark.e2e

MANY = 30  # connections: enough to reach every socket of a port


@pytest.mark.parametrize("workers", varied("2", "1"))
def test_every_bind_serves_through_a_reload_and_refuses_after_a_stop(tmp_path: Path, workers: str) -> None:
    path, name = str(tmp_path / "socket"), f"corehttp-test-{os.getpid()}-{workers}"
    app = ChangingApp(tmp_path)
    app.become("1")
    with socket.create_server(("127.0.0.1", 0)) as ours:
        number = ours.fileno()
        binds = ("-b", "[::]:0", "-b", f"unix:{path}", "-b", f"unix:@{name}", "-b", f"fd://{number}")
        server = ServerProcess(
            (*without_port(app.arguments), *binds, "--uds-permissions", "600", "--workers", workers),
            tmp_path,
            pass_fds=[number],
        )
        try:
            server.wait_until_ready()
            port = int(server.wait_for_log(r" http://0\.0\.0\.0:(\d+), ").group(1))
            places: tuple[int | str, ...] = (port, path, f"\0{name}", ours.getsockname()[1])
            for place in places:
                assert answer(place) == "1"
            if f"http://[::]:{port}" in server.stderr:  # not on a machine without IPv6
                assert all(answers_over_ipv6(port) for _ in range(MANY))
            assert os.stat(path).st_mode & 0o777 == 0o600
            app.become("2")
            server.signal(signal.SIGHUP)
            until(lambda: all(answer(place) == "2" for place in places for _ in range(MANY)), "the reload")
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            assert refused(port)
            assert not os.path.exists(path)
            with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
                client.connect(f"\0{name}")
            assert "CRITICAL" not in server.stderr
            with socket.create_connection(ours.getsockname(), PATIENCE):
                ours.accept()[0].close()  # the inherited socket takes in clients as before
        finally:
            server.end()


def test_an_upgrade_in_place_keeps_all_binds(tmp_path: Path) -> None:
    path, name = str(tmp_path / "socket"), f"corehttp-test-{os.getpid()}-upgrade"
    app = ChangingApp(tmp_path)
    app.become("1")
    binds = ("-b", "127.0.0.1:0", "-b", f"unix:{path}", "-b", f"unix:@{name}")
    server = ServerProcess((*without_port(app.arguments), *binds, "--workers", "2"), tmp_path)
    try:
        server.wait_until_ready()
        port = int(server.wait_for_log(r" http://127\.0\.0\.1:(\d+), ").group(1))
        places: tuple[int | str, ...] = (port, path, f"\0{name}")
        app.become("2")
        server.signal(signal.SIGUSR2)
        until(lambda: all(answer(place) == "2" for place in places for _ in range(MANY)), "the new supervisor")
        server.wait_for_log(r"ready in \d+ ms", 2)
    finally:
        server.end()


@pytest.mark.parametrize("kind", varied("reuseport", "shared"))
def test_a_reload_adds_and_removes_binds_and_loses_nobody(tmp_path: Path, kind: str) -> None:
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    app = ChangingApp(tmp_path)
    app.become("1")
    options = tmp_path / "corehttp.toml"
    arguments = (*without_port(app.arguments), "--workers", "2", "--socket", kind)
    first, second, third = free_ports(3)
    options.write_text(f'bind = ["127.0.0.1:{first}", "127.0.0.1:{second}", "unix:{one}"]')
    server = ServerProcess(arguments, tmp_path)
    try:
        server.wait_until_ready()
        with RawConnection(first) as kept, RawConnection(one) as removed, RawConnection(second) as also:
            assert [client.get("/")[1] for client in (kept, removed, also)] == [b"1"] * 3
            app.become("2")
            removed.ask("/slow?seconds=2")
            also.ask("/slow?seconds=2")
            options.write_text(f'bind = ["127.0.0.1:{third}", "unix:{two}", "127.0.0.1:{first}"]')
            server.signal(signal.SIGHUP)
            server.wait_for_log("reloaded")
            for place in (first, third, two):
                assert {answer(place) for _ in range(MANY)} == {"2"}
            assert [client.answer()[1] for client in (removed, also)] == [b"1"] * 2
            assert kept.get("/")[1] == b"2", "an idle connection was handed over"
            until(lambda: refused(second), "the end of the removed port")
            assert not os.path.exists(one)
        server.wait_for_log("closed, since no bind names it any more")
        app.become("3")
        server.signal(signal.SIGUSR2)
        until(lambda: all(answer(place) == "3" for place in (first, third, two) for _ in range(MANY)), "an upgrade")
        assert server.wait() == 0
        assert "CRITICAL" not in server.stderr
    finally:
        server.end()


def test_a_stop_after_binds_were_removed_loses_nobody(tmp_path: Path) -> None:
    app = ChangingApp(tmp_path)
    app.become("1")
    options = tmp_path / "corehttp.toml"
    first, second = free_ports(2)
    options.write_text(f'bind = ["127.0.0.1:{first}", "127.0.0.1:{second}"]')
    server = ServerProcess((*without_port(app.arguments), "--workers", "2"), tmp_path)
    try:
        server.wait_until_ready()
        options.write_text(f'bind = ["127.0.0.1:{second}"]')
        server.signal(signal.SIGHUP)
        until(lambda: refused(first), "the end of the removed port")
        server.wait_for_log(f"INFO .* http://127.0.0.1:{first}: closed, since no bind names it any more")
        with RawConnection(second) as client:
            client.ask("/slow?seconds=1")
            until(lambda: answer(second) == "1", "the request in flight")
            server.signal(signal.SIGTERM)
            assert client.answer()[1] == b"1"
        assert server.wait() == 0
        assert "CRITICAL" not in server.stderr
        assert "WARNING" not in server.stderr
        assert server.stderr.count("no bind names it") == 1
    finally:
        server.end()


def test_a_bind_that_cannot_be_had_changes_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    app = ChangingApp(tmp_path)
    app.become("1")
    options = tmp_path / "corehttp.toml"
    port = free_port()
    options.write_text(f'bind = ["127.0.0.1:{port}"]')
    server = ServerProcess((*without_port(app.arguments), "--workers", "2"), tmp_path)
    try:
        server.wait_until_ready()
        app.become("2")
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = other.getsockname()[1]
            options.write_text(f'bind = ["unix:{path}", "127.0.0.1:{taken}"]')
            server.signal(signal.SIGHUP)
            server.wait_for_log(f"the reload has failed, the old workers serve on: port {taken} on 127.0.0.1 is in use")
            assert not os.path.exists(path)
            assert {answer(port) for _ in range(MANY)} == {"1"}
            app.become_broken()
            options.write_text(f'bind = ["unix:{path}"]')
            server.signal(signal.SIGHUP)
            server.wait_for_log("no_such_module")
            until(lambda: not os.path.exists(path), "the end of the bind of the failed reload")
            assert {answer(port) for _ in range(MANY)} == {"1"}
    finally:
        server.end()


def without_port(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Return the arguments of the application without `--port 0`."""
    place = arguments.index("--port")
    return arguments[:place] + arguments[place + 2 :]


def answers_over_ipv6(port: int) -> bool:
    """Whether a new connection to the loopback address of IPv6 is served."""
    with socket.create_connection(("::1", port), PATIENCE) as client:
        client.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        return client.recv(100).startswith(b"HTTP/1.1 200 ")


def answer(place: int | str) -> str:
    """Ask through a new connection; no request may be lost, whatever the service does meanwhile."""
    with RawConnection(place) as client:
        body = client.get("/")[1].decode()
    assert body in ("1", "2", "3")
    return body
