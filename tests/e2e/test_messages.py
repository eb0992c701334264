"""Messages between the workers of a running service, and which of them leads."""

import json
import os
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import HERE, ServerProcess, until
from tests.kit.verbs import done, environment, told, verb

pytestmark = pytest.mark.e2e

TALKING = ("messages_application:app", "--app-dir", str(HERE), "--port", "0", "--lifespan", "on")


def fetch(server: ServerProcess, path: str) -> Any:
    """What one worker answers, over a connection of its own."""
    with RawConnection(server.port) as client:
        return json.loads(client.get(path)[1])


def environment_of(workers: int, runtime: Path | None = None) -> Mapping[str, str]:
    """The environment of a service of so many workers."""
    return {"MESSAGES_WORKERS": str(workers), **(environment(runtime) if runtime else {})}


@pytest.mark.feature
def test_what_one_worker_publishes_all_receive_in_its_order(start: Start) -> None:
    server = start(*TALKING, "--workers", "3", env=environment_of(3))
    with RawConnection(server.port) as client:
        for number in range(20):
            assert json.loads(client.get(f"/publish/{number}")[1]) == 3
        assert json.loads(client.get("/thread/last")[1]) == 3
    texts = [*map(str, range(20)), "last"]
    # To have taken a message is to have it in a channel: an answer over another one may come before it.
    until(
        lambda: fetch(server, "/received") == {"1": texts, "2": texts, "3": texts}, "all that was published, in order"
    )
    assert {fetch(server, "/who/any")[0] for _ in range(12)} == {1, 2, 3}
    pids = server.worker_pids()
    for number in (1, 2, 3):
        worker, pid = fetch(server, f"/who/{number}")
        assert worker == number
        assert pid in pids
    assert fetch(server, "/leader") == [fetch(server, "/who/leader")[0]]
    assert server.stop() == 0


def test_one_worker_without_a_supervisor_hears_itself_and_leads(start: Start) -> None:
    server = start(*TALKING, "--no-supervise", env=environment_of(1))
    assert fetch(server, "/publish/text") == 1
    assert fetch(server, "/thread/more") == 1
    assert fetch(server, "/received") == {"1": ["text", "more"]}
    assert fetch(server, "/leader") == [1]
    assert server.stop() == 0


def test_an_operator_speaks_to_all_workers(start: Start, runtime: Path) -> None:
    server = start(*TALKING, "--workers", "2", env=environment_of(2, runtime))
    assert done(verb(runtime, "send", "text", "from outside")).strip() == "send: 2 of 2 workers have it"
    sent = told(runtime, "send", "text", "again")
    assert (sent["ok"], sent["workers"], sent["of"]) == (True, 2, 2)
    texts = ["from outside", "again"]
    until(lambda: fetch(server, "/received") == {"1": texts, "2": texts}, "what the operator has sent")
    for words, why in (
        (("send", "text", "x" * 32769), "DATA has more than 32768 bytes"),
        (("send", "", "x"), "a topic of 0 bytes; it must have 1 to 255"),
    ):
        refused = verb(runtime, *words)
        assert refused.returncode == 2
        assert why in refused.stderr


def test_a_reload_keeps_messages_flowing_and_moves_the_lead(start: Start, runtime: Path) -> None:
    server = start(*TALKING, "--workers", "2", env=environment_of(2, runtime))
    before = set(server.worker_pids())
    leader = fetch(server, "/who/leader")[1]
    assert leader in before
    done(verb(runtime, "reload"))
    after = {fetch(server, f"/who/{number}")[1] for number in (1, 2)}
    assert not before & after
    assert fetch(server, "/who/leader")[1] in after
    shown = [worker["pid"] for worker in told(runtime, "status")["workers"] if worker["leader"]]
    assert shown == [fetch(server, "/who/leader")[1]]
    assert fetch(server, "/leader") == [fetch(server, "/who/leader")[0]]
    until(lambda: fetch(server, "/publish/text") == 2, "the end of the workers before")


def test_a_subscriber_that_lives_on_misses_nothing_while_another_worker_is_replaced(
    start: Start, runtime: Path
) -> None:
    server = start(*TALKING, "--workers", "2", env=environment_of(2, runtime))
    published = 0
    replaced = []
    for _ in range(3):
        replaced.append(fetch(server, "/who/2")[1])
        with ThreadPoolExecutor(1) as executor:
            restart = executor.submit(verb, runtime, "restart", "2")
            while not restart.done():
                assert fetch(server, f"/publish/{published}") >= 1
                published += 1
            done(restart.result())
    all_of_them = list(range(published))
    until(lambda: sorted(map(int, fetch(server, "/received")["1"])) == all_of_them, "what was published")
    until(lambda: fetch(server, "/byes") == replaced, "the last words of the workers that were replaced")
    assert server.stop() == 0
    assert "ERROR" not in server.stderr


def test_a_worker_that_is_killed_is_succeeded_as_the_leader_and_as_a_listener(start: Start) -> None:
    server = start(*TALKING, "--workers", "2", env=environment_of(2))
    worker, pid = fetch(server, "/who/leader")
    os.kill(pid, signal.SIGKILL)
    server.wait_for_log(rf"worker {worker} \(pid \d+\) is ready")
    now, successor = fetch(server, "/who/leader")
    assert successor != pid
    assert now != worker, "who has served longest leads"
    assert fetch(server, f"/who/{worker}")[1] not in (pid, successor)
    assert fetch(server, "/publish/text") == 2


def test_after_an_upgrade_a_new_worker_leads_when_the_old_supervisor_has_ended(start: Start) -> None:
    server = start(*TALKING, "--workers", "2", env=environment_of(2))
    before = server.worker_pids()
    server.signal(signal.SIGUSR2)
    successor = int(server.wait_for_log(r"the new supervisor \(pid (\d+)\) is ready").group(1))
    server.wait()
    assert fetch(server, "/who/leader")[1] not in before
    assert fetch(server, "/publish/text") == 2
    os.kill(successor, signal.SIGTERM)
    until(lambda: not server.processes(), "the end of the new one")


@pytest.mark.parametrize("options", [("--preload",), ("--loop", "asyncio")])
def test_messages_reach_workers_that_a_template_has_forked_and_any_loop(start: Start, options: tuple[str, ...]) -> None:
    server = start(*TALKING, "--workers", "2", *options, env=environment_of(2))
    assert fetch(server, "/publish/text") == 2
    until(lambda: fetch(server, "/received") == {"1": ["text"], "2": ["text"]}, "what was published")
    assert server.stop() == 0
