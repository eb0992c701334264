"""How the connections of clients are spread over workers: evenly, however they come, and not through a blocked one."""

import os
import signal
from collections import Counter
from collections.abc import Sequence

import psutil  # type: ignore[import-untyped]
import pytest

from tests.e2e.conftest import Start
from tests.kit.changing import ChangingApp
from tests.kit.extent import varied
from tests.kit.raw_client import RawConnection, connections
from tests.kit.server_process import ServerProcess, until

pytestmark = pytest.mark.e2e


def share(clients: Sequence[RawConnection]) -> list[int]:
    """How many of these connections each worker has that has any, the fewest first."""
    for client in clients:
        client.ask("/pid")
    return sorted(Counter(client.answer()[1] for client in clients).values())


def until_even(server: ServerProcess, clients: Sequence[RawConnection], workers: int) -> None:
    each, rest = divmod(len(clients), workers)
    even = [each] * (workers - rest) + [each + 1] * rest
    until(lambda: share(clients) == even, f"{even} connections")


@pytest.mark.parametrize("loop", varied("uvloop", "asyncio"))
def test_connections_that_come_at_once_are_spread_evenly(start: Start, app: ChangingApp, loop: str) -> None:
    server = start(*app.arguments, "--workers", "4", "--loop", loop)
    for count in (8, 32, 50):
        with connections(count, server.port) as clients:
            until_even(server, clients, 4)
    assert server.stop() == 0


def test_connections_that_come_one_by_one_are_spread_evenly(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments, "--workers", "4")
    with connections(0, server.port) as clients:
        for _ in range(16):
            clients.append(RawConnection(server.port))
            clients[-1].get("/")
        until_even(server, clients, 4)
        for client in clients:
            client.socket.close()
    assert server.stop() == 0


@pytest.mark.parametrize("options", [("--socket", "shared"), ("--socket", "reuseport")], ids=lambda options: options[1])
def test_they_are_spread_evenly_however_the_port_is_shared(
    start: Start, app: ChangingApp, options: tuple[str, ...]
) -> None:
    server = start(*app.arguments, "--workers", "3", *options)
    with connections(12, server.port) as clients:
        until_even(server, clients, 3)
    assert server.stop() == 0


@pytest.mark.parametrize("spread", varied("least", "kernel"))
def test_nobody_new_waits_for_a_worker_whose_loop_is_blocked(start: Start, app: ChangingApp, spread: str) -> None:
    options = ("--spread", spread, "--timeout-worker-healthcheck", "0", "--blocked-warn", "0")
    server = start(*app.arguments, "--workers", "3", *options)
    with RawConnection(server.port) as holder:
        blocked = int(holder.get("/pid")[1])
        holder.ask("/block?1000")
        until(lambda: psutil.Process(blocked).status() == psutil.STATUS_SLEEPING, "the block")
        for _ in range(2):  # those that have come before anybody knows of the block, and those that come later
            with connections(30, server.port) as clients:
                for client in clients:
                    client.ask("/pid")
                pids = {int(client.answer()[1]) for client in clients}
                assert pids <= set(server.worker_pids()) - {blocked}
        os.kill(blocked, signal.SIGKILL)
    until(lambda: len(set(server.worker_pids()) - {blocked}) == 3, "full strength")
    assert server.stop() == 0


def test_who_waits_for_a_worker_that_was_stopped_by_a_signal_is_served_by_others(
    start: Start, app: ChangingApp
) -> None:
    server = start(*app.arguments, "--workers", "2")
    stopped = server.worker_pids()[0]
    os.kill(stopped, signal.SIGSTOP)
    with connections(20, server.port) as clients:
        for client in clients:
            client.ask("/pid")
        assert {int(client.answer()[1]) for client in clients} == set(server.worker_pids()) - {stopped}
    os.kill(stopped, signal.SIGCONT)
    with RawConnection(server.port) as client:
        assert client.get("/")[1] == b"1"
    assert server.stop() == 0


def test_the_kernels_choice_stands_if_the_operator_wants_it(start: Start, app: ChangingApp) -> None:
    server = start(*app.arguments, "--workers", "2", "--spread", "kernel", "--log-level", "debug")
    with connections(4, server.port) as clients:
        assert sum(share(clients)) == 4
    assert server.stop() == 0
    assert server.stderr.count("of its connections 0 were handed over and 0 taken over") == 2
