"""The service manager: how it is found, and that telling it never waits and never fails."""

import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from corehttp.config import Config
from corehttp.moments import NEVER
from corehttp.supervisor.deployment import Deployment
from corehttp.supervisor.events import BecameReady, SlotOpened, Spawned
from corehttp.supervisor.fleet import Fleet
from corehttp.supervisor.generations import Generations
from corehttp.supervisor.service import Service
from corehttp.supervisor.service_manager import AGAIN, ServiceManager, Telling, service_manager
from corehttp.supervisor.upgrade import Upgrade
from tests.supervisor.simulated_world import SimulatedWorld


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket for datagrams as systemd has one, and what NOTIFY_SOCKET says of it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@corehttp-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        sock.setblocking(False)
        yield sock, name


def test_each_text_is_one_datagram(listener: tuple[socket.socket, str]) -> None:
    sock, name = listener
    ServiceManager(name).tell("READY=1\nSTATUS=ready")
    assert sock.recv(100) == b"READY=1\nSTATUS=ready"


def test_a_manager_that_reads_nothing_is_not_waited_for(listener: tuple[socket.socket, str]) -> None:
    _, name = listener
    manager = ServiceManager(name)
    for _ in range(10_000):
        manager.tell("WATCHDOG=1")
    assert not manager.tell("WATCHDOG=1"), "there is no room"


class FullManager:
    """A manager that has no room for a while."""

    watchdog = NEVER

    def __init__(self) -> None:
        self.has_room = False
        self.told: list[str] = []

    def tell(self, text: str) -> bool:
        if self.has_room:
            self.told += text.splitlines()
        return self.has_room


def test_what_a_manager_has_no_room_for_is_told_again() -> None:
    world, config, deployment, fleet = (
        SimulatedWorld(random.Random(1), 1, 0.0),
        Config(app="a:b"),
        Deployment(),
        Fleet(1),
    )
    generations = Generations(config, lambda: config, deployment, set_up=lambda *settings: None)
    service = Service(world, fleet, generations, Upgrade((), deployment, world.processes))
    manager = FullManager()
    telling = Telling(service, manager)
    telling.look()
    assert telling.due() == world.now() + AGAIN
    for event in (SlotOpened(0), Spawned(1, 0, 1), BecameReady(1)):
        service.observe(event)
    telling.look()
    telling.reload_asked()
    assert manager.told == []

    manager.has_room = True
    telling.look()
    assert manager.told == [
        *("STATUS=Starting: 0 of 1 workers ready", "READY=1", f"MAINPID={world.pid}"),
        "STATUS=Serving: 1 of 1 workers ready, 0 open connections",
    ]
    telling.reload_asked()
    assert manager.told[-2] == "RELOADING=1"


@pytest.mark.parametrize("path", ["/no/such/socket", "/" + "x" * 200])
def test_a_manager_that_is_not_there_is_told_of_once(path: str, caplog: pytest.LogCaptureFixture) -> None:
    manager = ServiceManager(path)
    manager.tell("READY=1")
    manager.tell("READY=1")
    [record] = caplog.records
    assert record.getMessage().startswith(f"the service manager hears nothing at {path} (NOTIFY_SOCKET): ")


def test_its_variables_are_taken_out_and_put_back_where_the_process_goes_on() -> None:
    given = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}
    env = {**given, "HOME": "/"}
    with service_manager(env, 7, keeps=True) as manager:
        assert manager is not None
        assert env == {"HOME": "/"}
        assert manager.watchdog == 1.5
        # A new supervisor has another process id.
        assert manager.bequeath() == ({"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "3000000"}, [])
    assert env == {**given, "HOME": "/"}
    with service_manager(env, 7, keeps=False):
        pass
    assert env == {"HOME": "/"}


@pytest.mark.parametrize("more", [{}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "8"}, {"WATCHDOG_USEC": "soon"}])
def test_without_a_watchdog_of_ours_it_wants_no_signs_of_life(more: dict[str, str]) -> None:
    with service_manager({"NOTIFY_SOCKET": "@run", **more}, 7, keeps=False) as manager:
        assert manager is not None
        assert manager.watchdog == NEVER


@pytest.mark.parametrize("env", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "@"}, {"NOTIFY_SOCKET": "vsock:2:9"}])
def test_whatever_is_no_socket_is_no_manager(env: dict[str, str]) -> None:
    with service_manager(env, 7, keeps=False) as manager:
        assert manager is None
