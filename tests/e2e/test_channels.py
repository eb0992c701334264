"""The channel layer of Django Channels over several workers, without Redis."""

import contextlib
import json
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.kit.extent import varied
from tests.kit.raw_client import RawConnection
from tests.kit.redis_server import RedisServer
from tests.kit.server_process import HERE, ServerProcess, until

pytestmark = pytest.mark.e2e

ROOM = ("channels_application:app", "--app-dir", str(HERE), "--port", "0", "--workers", "2", "--lifespan", "on")


def fetch(server: ServerProcess, path: str) -> Any:
    with RawConnection(server.port) as client:
        return json.loads(client.get(path)[1])


@pytest.mark.parametrize("options", varied((), ("--preload",)), ids=["imported", "preloaded"])
def test_what_is_sent_to_a_group_comes_to_the_clients_of_all_workers(start: Start, options: tuple[str, ...]) -> None:
    server = start(*ROOM, *options)
    with contextlib.ExitStack() as clients:
        waiting: list[RawConnection] = []
        while len(waiting) < 4 or 0 in fetch(server, "/waiting"):
            waiting.append(clients.enter_context(RawConnection(server.port)))
            waiting[-1].ask("/wait")
            until(lambda: sum(fetch(server, "/waiting")) == len(waiting), "another one who waits")
        fetch(server, "/tell/hello")
        answers = [json.loads(client.answer()[1]) for client in waiting]
    assert {text for _, text in answers} == {"hello"}
    assert {worker for worker, _ in answers} == {1, 2}
    assert fetch(server, "/waiting") == [0, 0]
    assert server.stop() == 0


def test_with_a_bus_a_group_is_that_of_all_machines(start: Start, redis: RedisServer) -> None:
    one, two = (start(*ROOM, env={"COREHTTP_BUS": redis.url}) for _ in range(2))
    with contextlib.ExitStack() as clients:
        waiting = [clients.enter_context(RawConnection(machine.port)) for machine in (one, two)]
        for client in waiting:
            client.ask("/wait")
        until(lambda: [sum(fetch(machine, "/waiting")) for machine in (one, two)] == [1, 1], "one who waits on each")
        fetch(one, "/tell/hello")
        assert [json.loads(client.answer()[1])[1] for client in waiting] == ["hello", "hello"]
