"""Binds that a reload adds and removes: which endpoints the slots have before, in and after it."""

import contextlib
from collections.abc import Iterator
from typing import NoReturn

import pytest

from corehttp.config import Config
from corehttp.errors import StartupError
from corehttp.moments import NEVER
from corehttp.sockets import listening
from corehttp.sockets.endpoint import endpoints
from corehttp.supervisor.binds import SETTLE, Binds
from corehttp.supervisor.slots import Slots


class NoRescuer:
    """Implements `world.Rescuer` for slots in which nobody waits; records what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def rescue(self, wanted: frozenset[int]) -> None:
        self.asked.append(f"rescue {sorted(wanted)}")

    def finish(self, slot: int) -> None:
        self.asked.append(f"finish {slot}")

    def look_again(self) -> None:
        self.asked.append("look again")

    def close(self) -> None:
        self.asked.append("close")

    paused = False


class Site:
    """Two slots with a socket each on a port, and the binds of their service."""

    def __init__(self, opened: contextlib.ExitStack) -> None:
        served = endpoints(config("127.0.0.1:0"))
        self.slots = Slots.of(listening.bind(served, 2, reuseport=True), served, parting=True)
        opened.callback(self.slots.close_all)
        self.rescuer = NoRescuer()
        self.binds = Binds(self.slots, self.rescuer, lambda: frozenset({1}))

    def has(self) -> list[tuple[int, ...]]:
        return [self.slots.endpoints(slot) for slot in range(2)]


def config(*binds: str) -> Config:
    return Config(bind=binds)


@pytest.fixture
def site() -> Iterator[Site]:
    with contextlib.ExitStack() as opened:
        yield Site(opened)


def test_new_sockets_are_there_during_a_reload_and_old_ones_a_moment_longer(site: Site) -> None:
    site.binds.begin(config("127.0.0.1:0", "[::1]:0"))
    assert site.has() == [(0, 1), (0, 1)]
    site.binds.finish(5.0)
    assert site.binds.due() == NEVER
    site.binds.begin(config("[::1]:0"))
    assert site.has() == [(0, 1), (0, 1)]
    site.binds.finish(7.0)
    assert site.binds.due() == 7.0 + SETTLE
    site.binds.look(7.5)
    assert site.has() == [(0, 1), (0, 1)]
    site.binds.look(7.0 + SETTLE)
    assert site.has() == [(1,), (1,)]
    assert site.binds.due() == NEVER


def test_a_bind_that_was_removed_is_named_once_when_it_is_closed(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "corehttp.supervisor")
    url = site.slots.urls
    site.binds.begin(config("[::1]:0"))
    site.binds.finish(7.0)
    site.binds.look(7.0 + SETTLE)
    site.binds.look(9.0 + SETTLE)
    [line] = caplog.records
    assert (line.levelname, line.getMessage()) == ("INFO", f"{url}: closed, since no bind names it any more")


def test_nothing_is_said_of_a_bind_that_was_closed_with_its_slots(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "corehttp.supervisor")
    site.binds.begin(config("[::1]:0"))
    site.binds.finish(7.0)
    for slot in range(2):
        site.slots.close(slot)
    site.binds.look(7.0 + SETTLE)
    assert site.binds.due() == NEVER
    assert not caplog.records


def test_a_reload_may_change_what_is_said_behind_an_address(site: Site) -> None:
    site.binds.begin(config("127.0.0.1:0,proxy-protocol=v1"))
    site.binds.finish(5.0)
    assert site.has() == [(0,), (0,)]


def test_the_workers_of_each_generation_are_told_the_endpoints_of_their_own_options(site: Site) -> None:
    site.binds.begin(config("[::1]:0", "127.0.0.1:0"))
    assert (site.binds.named(of_rollout=False), site.binds.named(of_rollout=True)) == ((0,), (1, 0))
    site.binds.abandon(5.0)
    assert site.binds.named(of_rollout=True) == (0,)
    site.binds.begin(config("[::1]:0", "127.0.0.1:0"))
    site.binds.finish(6.0)
    assert site.binds.named(of_rollout=False) == (1, 0)


def test_a_reload_that_fails_removes_what_it_has_added(site: Site) -> None:
    site.binds.begin(config("[::1]:0"))
    site.binds.abandon(1.0)
    site.binds.look(1.0 + SETTLE)
    assert site.has() == [(0,), (0,)]


def test_a_bind_that_is_in_use_leaves_all_as_it_was(site: Site) -> None:
    port = site.slots.listeners()[0][0].rpartition(":")[2]
    with pytest.raises(StartupError, match=rf"^port {port} on 127\.0\.0\.1 is in use"):
        site.binds.begin(config("[::1]:0", f"127.0.0.1:{port}"))
    assert site.has() == [(0,), (0,)]


def test_the_next_reload_closes_what_the_last_one_removed_so_that_it_can_be_bound_again(site: Site) -> None:
    site.binds.begin(config("127.0.0.1:0", "unix:@corehttp-test-binds"))
    site.binds.finish(1.0)
    site.binds.begin(config("127.0.0.1:0"))
    site.binds.finish(2.0)
    site.binds.begin(config("unix:@corehttp-test-binds", "127.0.0.1:0"))
    assert site.has() == [(0, 1), (0, 1)]


def test_only_a_restart_adds_sockets_of_another_program(site: Site) -> None:
    with pytest.raises(StartupError, match=r"^bind: only a restart adds or removes fd://N and systemd:NAME"):
        site.binds.begin(config("127.0.0.1:0", "systemd:web"))


def test_connections_that_wait_for_nobody_are_rescued_from_new_sockets_too(site: Site) -> None:
    site.binds.begin(config("127.0.0.1:0", "[::1]:0"))
    assert site.rescuer.asked == ["finish 1", "rescue [1]"]


def test_a_new_supervisor_numbers_the_endpoints_by_its_options(site: Site) -> None:
    site.binds.begin(config("unix:@corehttp-test-order", "127.0.0.1:0"))
    site.binds.finish(1.0)
    left = site.slots.bequeath(1, ())
    assert left.endpoints == (1, 0)


def test_a_port_that_only_root_may_bind_needs_a_restart_where_root_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise StartupError("port 80 on ::1 needs privileges") from PermissionError()

    monkeypatch.setattr(listening, "bind", refuse)
    with pytest.raises(
        StartupError, match=r"^port 80 on ::1 needs privileges; only a restart can, since root's rights"
    ):
        site.binds.begin(Config(bind=("127.0.0.1:0", "[::1]:80"), user="www"))
    with pytest.raises(StartupError, match=r"^port 80 on ::1 needs privileges$"):
        site.binds.begin(config("127.0.0.1:0", "[::1]:80"))
