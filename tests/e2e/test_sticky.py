"""Requests with the same key are served by the same worker (`--sticky`), over whatever connections they come."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from websockets.sync.client import connect

from tests.e2e.conftest import Start
from tests.kit.extent import varied
from tests.kit.meanwhile import again_and_again
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import HERE, PATIENCE, ServerProcess, until

pytestmark = pytest.mark.e2e

APP = ("sticky_application:app", "--app-dir", str(HERE), "--port", "0", "--no-access-log")
# A worker that does not get a CPU for a while would count as blocked, and others would serve its keys.
FOUR = (*APP, "--workers", "4", "--rescue-after", "60")
KEYS = [f"client-{number}" for number in range(40)]  # each of four workers has some, but for once in 25,000


def worker(text: bytes | str) -> int:
    """The number of the worker that has answered this."""
    return int(text.split()[0])


def ask(server: ServerProcess, key: str, path: str = "/") -> int:
    """Which worker serves a request with this key, over a new connection."""
    with RawConnection(server.port) as client:
        client.ask(path, f"x-key: {key}")
        return worker(client.answer()[1])


def owners(server: ServerProcess) -> dict[str, int]:
    return {key: ask(server, key) for key in KEYS}


@pytest.mark.parametrize("loop", varied("uvloop", "asyncio"))
def test_a_key_in_a_field_leads_to_one_worker_over_new_and_kept_connections(start: Start, loop: str) -> None:
    server = start(*FOUR, "--sticky", "header:X-Key", "--loop", loop)
    first = owners(server)
    assert set(first.values()) == {1, 2, 3, 4}
    assert owners(server) == first
    with RawConnection(server.port) as client:  # one connection for all, as a proxy has it
        for key in KEYS * 2:
            client.ask("/", f"x-key: {key}")
            assert worker(client.answer()[1]) == first[key]
        for key in KEYS:  # pipelined
            client.ask(f"/{key}", f"x-key: {key}")
        for key in KEYS:
            answer = client.answer()[1].decode()
            assert (worker(answer), answer.split()[2]) == (first[key], f"/{key}")
    assert server.stop() == 0
    assert " ERROR " not in server.stderr


def test_bodies_move_with_the_heads_before_them(start: Start) -> None:
    server = start(*FOUR, "--sticky", "query:key")
    with httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as client:
        first = {key: worker(client.get("/", params={"key": key}).text) for key in KEYS}
        assert set(first.values()) == {1, 2, 3, 4}
        for key in KEYS:
            for size in (1, 1000, 30_000):
                answer = client.post("/up", params={"key": key}, content=b"x" * size).text
                assert (worker(answer), answer.split()[2:]) == (first[key], ["/up", str(size)])
            chunked = client.post("/up", params={"key": key}, content=iter([b"x" * 10] * 10)).text
            assert (worker(chunked), chunked.split()[3]) == (first[key], "100")
            large = client.post("/up", params={"key": key}, content=b"x" * 1_000_000).text
            assert (worker(large), large.split()[2:]) == (first[key], ["/up", "1000000"])
    assert server.stop() == 0


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_large_bodies_that_are_pipelined_go_to_their_workers_and_are_read_no_faster_than_these(
    start: Start, loop: str
) -> None:
    server = start(*FOUR, "--sticky", "header:x-key", "--loop", loop)
    first, size = owners(server), 400_000
    with RawConnection(server.port) as client:
        sent = b"".join(
            b"POST /up HTTP/1.1\r\nhost: a\r\nx-key: %b\r\ncontent-length: %d\r\n\r\n" % (key.encode(), size)
            + b"x" * size
            for key in KEYS
        )
        writing = threading.Thread(target=client.socket.sendall, args=(sent,))
        writing.start()
        answers = [client.answer()[1].split() for _ in KEYS]
        writing.join(PATIENCE)
    assert [int(answer[3]) for answer in answers] == [size] * len(KEYS)
    assert [int(answer[0]) for answer in answers] == list(first.values())
    assert server.stop() == 0


def test_a_cookie_of_the_application_leads_to_one_worker(start: Start) -> None:
    server = start(*FOUR, "--sticky", "cookie:session")
    first: dict[str, int] = {}
    for _ in range(2):
        for key in KEYS:
            with RawConnection(server.port) as client:
                client.ask("/", f"cookie: a=b; session={key}")
                head, body = client.answer()
                assert first.setdefault(key, worker(body)) == worker(body)
                assert b"set-cookie" not in head
    assert set(first.values()) == {1, 2, 3, 4}
    assert server.stop() == 0


@pytest.mark.feature
def test_the_cookie_of_the_server_keeps_each_client_where_it_was_served_first(start: Start) -> None:
    server = start(*FOUR, "--sticky", "cookie")
    seen = set()
    for _ in range(12):
        with httpx.Client(base_url=server.url, trust_env=False, timeout=PATIENCE) as client:
            answer = client.get("/")
            cookie = answer.headers["set-cookie"]
            assert cookie.startswith(f"corehttp={worker(answer.text)}.")
            assert cookie.endswith("; HttpOnly; SameSite=Lax; Path=/")
            value = client.cookies["corehttp"]
        seen.add(worker(answer.text))
        for _ in range(4):
            with RawConnection(server.port) as other:
                other.ask("/", f"cookie: corehttp={value}")
                head, body = other.answer()
                assert (worker(body), b"set-cookie" in head) == (worker(answer.text), False)
    assert len(seen) > 1
    with RawConnection(server.port) as forger:
        forger.ask("/", "cookie: corehttp=1.000000000000000000000000")
        assert b"set-cookie: corehttp=" in forger.answer()[0]
    assert server.stop() == 0


def test_behind_tls_that_a_proxy_ends_the_cookie_is_secure(start: Start) -> None:
    server = start(*FOUR, "--sticky", "cookie")
    with RawConnection(server.port) as client:
        client.ask("/", "x-forwarded-proto: https")
        assert b"; Path=/; Secure\r\n" in client.answer()[0]
    assert server.stop() == 0


def test_the_address_of_a_client_leads_to_one_worker(start: Start) -> None:
    server = start(*FOUR, "--sticky", "ip")
    first: dict[str, int] = {}
    for _ in range(2):
        for number in range(1, 25):
            address = f"127.0.1.{number}"
            with socket.create_connection(("127.0.0.1", server.port), PATIENCE, (address, 0)) as client:
                client.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
                answer = client.makefile("rb").read().rpartition(b"\r\n")[2]
            assert first.setdefault(address, worker(answer)) == worker(answer)
    assert set(first.values()) == {1, 2, 3, 4}
    with RawConnection(server.port) as client:  # as a trusted proxy names it
        for address, owner in first.items():
            client.ask("/", f"x-forwarded-for: {address}")
            assert worker(client.answer()[1]) == owner
    assert server.stop() == 0


def test_the_first_rule_that_gives_a_request_a_key_counts(start: Start) -> None:
    server = start(*FOUR, "--sticky", "header:x-key", "--sticky", "query:key", "--sticky", "cookie")
    first = owners(server)
    for key in KEYS:
        with RawConnection(server.port) as client:
            client.ask(f"/?key={key}")
            assert worker(client.answer()[1]) == first[key], "the same key has the same owner, wherever it stands"
            client.ask(f"/?key={KEYS[0]}", f"x-key: {key}")
            head, body = client.answer()
            assert (worker(body), b"set-cookie" in head) == (first[key], False)
    assert server.stop() == 0


def test_websockets_move_too(start: Start) -> None:
    server = start(*FOUR, "--sticky", "header:x-key")
    first = owners(server)
    for key in KEYS:
        with connect(server.url.replace("http", "ws"), additional_headers={"X-Key": key}, proxy=None) as client:
            assert worker(client.recv(PATIENCE)) == first[key]
            client.send("hello")
            assert client.recv(PATIENCE) == "hello"
    assert server.stop() == 0


@pytest.mark.feature
def test_a_value_that_an_application_binds_leads_to_its_worker(start: Start) -> None:
    server = start(*FOUR, "--sticky", "header:x-key", "--sticky", "cookie:session", "--preload")
    hashed, bound = owners(server), {}
    for key in KEYS[:-1]:
        with RawConnection(server.port) as client:
            bound[key] = worker(client.get(f"/bind?{key}")[1])
            assert ask(server, key) == bound[key], "it counts at once"
    with connect(f"{server.url.replace('http', 'ws')}/bind?{KEYS[-1]}", proxy=None) as client:
        bound[KEYS[-1]] = worker(client.recv(PATIENCE))
        until(lambda: ask(server, KEYS[-1]) == bound[KEYS[-1]], "the binding")
    assert owners(server) == bound != hashed
    with RawConnection(server.port) as client:
        client.ask("/", f"cookie: session={KEYS[0]}")
        assert worker(client.answer()[1]) == bound[KEYS[0]]
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded in ")
    assert owners(server) == bound, "successors inherit what was bound"
    assert server.stop() == 0


def test_an_upgrade_of_the_program_changes_no_owner_and_no_cookie(start: Start) -> None:
    server = start(*FOUR, "--sticky", "header:x-key", "--sticky", "cookie")
    first = owners(server)
    with RawConnection(server.port) as client:
        head, body = client.get("/")
        owner, cookie = worker(body), head.partition(b"set-cookie: ")[2].partition(b";")[0].decode()
    with questions(server, KEYS) as answers:
        server.signal(signal.SIGUSR2)
        successor = int(server.wait_for_log(r"a new supervisor \(pid (\d+)\) is starting").group(1))
        assert server.wait() == 0
    assert {(key, owner) for key, owner in answers if owner != first[key]} == set()
    assert owners(server) == first
    with RawConnection(server.port) as client:
        client.ask("/", f"cookie: {cookie}")
        head, body = client.answer()
        assert (worker(body), b"set-cookie" in head) == (owner, False)
    os.kill(successor, signal.SIGTERM)
    until(lambda: not server.processes(), "the end of the successor")
    assert "STICKY_SECRET" not in server.stderr


@contextmanager
def questions(server: ServerProcess, keys: list[str]) -> Iterator[list[tuple[str, int]]]:
    """Ask with all keys in turn, over a kept connection and new ones, as long as the context is open.

    Gives the keys and who has answered each; fails if one was not answered.
    """
    answers: list[tuple[str, int]] = []
    with httpx.Client(base_url=server.url, trust_env=False, timeout=PATIENCE) as client:

        def ask_in_turn() -> None:
            for key in keys:
                answers.append((key, ask(server, key)))
                answers.append((key, worker(client.get("/", headers={"x-key": key}).text)))

        with again_and_again(ask_in_turn):
            yield answers


@pytest.mark.parametrize("strategy", varied("start-first", "stop-first"))
def test_successors_inherit_the_keys_of_their_slots_and_no_request_is_lost(start: Start, strategy: str) -> None:
    server = start(*FOUR, "--sticky", "header:x-key", "--reload-strategy", strategy)
    first, pids = owners(server), set(server.worker_pids())
    with questions(server, KEYS) as answers:
        until(lambda: len(answers) > 50, "some answers")
        begun = len(answers)
        server.signal(signal.SIGHUP)
        server.wait_for_log("reloaded in ")
        ended = len(answers) + 1  # the question before this one may have been asked earlier
        until(lambda: not pids & set(server.worker_pids()), "the end of the old workers")
        until(lambda: len(answers) > ended + 50, "more answers")
    if strategy == "stop-first":  # in between a slot has no worker for a while
        answers[begun:ended] = []
    assert {(key, owner) for key, owner in answers if owner != first[key]} == set()
    assert owners(server) == first
    assert server.stop() == 0
    assert " ERROR " not in server.stderr


def test_keys_of_a_worker_that_was_killed_are_served_by_its_successor(start: Start) -> None:
    server = start(*FOUR, "--sticky", "header:x-key")
    first, pids = owners(server), server.worker_pids()
    victim = pids[0]
    os.kill(victim, signal.SIGKILL)
    with RawConnection(server.port) as client:
        for key in KEYS:
            client.ask("/", f"x-key: {key}")
            client.answer()
    until(lambda: len(set(server.worker_pids()) - {victim}) == 4, "full strength")
    until(lambda: owners(server) == first, "the owners of before")
    assert server.stop() == 0


def test_keys_of_a_blocked_worker_are_served_by_others_until_it_goes_on(start: Start) -> None:
    options = ("--timeout-worker-healthcheck", "0", "--blocked-warn", "0.6", "--rescue-after", "0.5")
    server = start(*FOUR, "--sticky", "header:x-key", *options)
    first = owners(server)
    key = KEYS[0]
    with RawConnection(server.port) as holder:
        holder.ask("/block?seconds=5", f"x-key: {key}")
        server.wait_for_log("event loop.*blocked")
        assert first[key] not in {ask(server, key) for _ in range(8)}
        assert not holder.has_answer()
        holder.answer()
    until(lambda: ask(server, key) == first[key], "the owner of before")
    assert server.stop() == 0


def test_one_worker_takes_the_option_and_does_nothing(start: Start) -> None:
    for options in ((), ("--no-supervise",)):
        server = start(*APP, "--sticky", "cookie", "--sticky", "ip", *options)
        with RawConnection(server.port) as client:
            client.ask("/")
            head, body = client.answer()
            assert (worker(body), b"set-cookie" in head) == (1, False)
        assert server.stop() == 0


@pytest.mark.parametrize("value", ["session", "cookie:", "header:a b", "ip:127.0.0.1"])
def test_a_wrong_rule_is_refused_with_what_would_be_right(start: Start, value: str) -> None:
    server = start(*APP, "--sticky", value, ready=False)
    assert server.wait() == 2
    assert repr(value) in server.stderr
    assert "ip, cookie, cookie:NAME, header:NAME or query:NAME" in server.stderr


CHAT = ("socketio_application:app", "--app-dir", str(HERE), "--port", "0", "--workers", "3")


@pytest.mark.parametrize("option", ["--no-preload", "--preload"])
def test_who_serves_socketio_by_several_workers_is_told_once_what_to_set(start: Start, option: str) -> None:
    server = start(*CHAT, option)
    hint = "python-socketio keeps the state of its clients in one process"
    server.wait_for_log(hint)
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded in ")
    assert server.stop() == 0
    assert server.stderr.count(hint) == 1
    tied = start(*CHAT, "--sticky", "cookie")
    assert tied.stop() == 0
    assert hint not in tied.stderr
