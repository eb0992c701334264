"""The examples with Redis, with a real one: it is killed, stopped and started again while clients ask."""

import asyncio
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Sequence
from http.cookies import SimpleCookie

import httpx
import pytest

from examples.rate_limit import client_of
from tests.e2e.conftest import Start
from tests.kit.redis_server import RedisServer
from tests.kit.server_process import PATIENCE, ROOT, ServerProcess, until

pytestmark = pytest.mark.e2e

LIMIT = 10
AWAY = 3.0  # seconds after which Redis counts as away, where the test has it stopped


def serving(start: Start, redis: RedisServer, example: str, timeout: float = PATIENCE) -> ServerProcess:
    env = {"REDIS_URL": redis.url, "REDIS_TIMEOUT": str(timeout), "RATE_LIMIT": str(LIMIT), "RATE_WINDOW": "3600"}
    return start(f"examples.{example}:app", "--app-dir", str(ROOT), "--port", "0", "--workers", "4", env=env)


def ask(server: ServerProcess, count: int, source: str = "127.0.0.1", **options: object) -> Sequence[httpx.Response]:
    """The answers to so many requests at the same time, each over a connection of its own."""

    async def one() -> httpx.Response:
        transport = httpx.AsyncHTTPTransport(local_address=source)
        async with httpx.AsyncClient(transport=transport, timeout=PATIENCE) as client:
            return await client.get(f"{server.url}/", **options)  # type: ignore[arg-type]

    async def all_of_them() -> list[httpx.Response]:
        return await asyncio.gather(*(one() for _ in range(count)))

    return asyncio.run(all_of_them())


def statuses(answers: Sequence[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


def test_a_client_has_its_limit_in_all_workers_together(start: Start, redis: RedisServer) -> None:
    server = serving(start, redis, "rate_limit")
    answers = ask(server, 40)
    assert statuses(answers) == {200: LIMIT, 429: 30}
    assert all(3500 < int(a.headers["retry-after"]) <= 3600 for a in answers if a.status_code == 429)
    until(lambda: len(set(re.findall(r"\[worker (\d)\]", server.stdout))) > 1, "lines of several workers")
    assert statuses(ask(server, LIMIT, "127.0.0.2")) == {200: LIMIT}
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded")
    assert statuses(ask(server, 5)) == {429: 5}
    assert server.stop() == 0


def test_nobody_is_limited_nor_kept_waiting_while_redis_is_away(start: Start, redis: RedisServer) -> None:
    server = serving(start, redis, "rate_limit", AWAY)
    assert statuses(ask(server, LIMIT + 5)) == {200: LIMIT, 429: 5}
    redis.pause()
    began = time.monotonic()
    assert statuses(ask(server, 8)) == {200: 8}
    assert time.monotonic() - began < PATIENCE / 2
    redis.kill()
    assert statuses(ask(server, 8)) == {200: 8}
    redis.start()
    assert statuses(ask(server, LIMIT + 5)) == {200: LIMIT, 429: 5}
    assert server.stop() == 0
    assert "Redis is away" in server.stderr


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", "unknown"),
    ],
)
def test_all_addresses_that_a_client_has_count_as_one(host: str, counted: str) -> None:
    assert client_of({"client": (host, 1)}) == counted


def cookie_of(answer: httpx.Response) -> str:
    """The value of the session's cookie, which must be kept from scripts and from other sites."""
    morsel = SimpleCookie(answer.headers["set-cookie"])["session"]
    assert (morsel["httponly"], morsel["samesite"], morsel["path"]) == (True, "lax", "/")
    return morsel.value


def login(server: ServerProcess, name: str, cookie: str = "") -> httpx.Response:
    headers = {"cookie": f"session={cookie}"} if cookie else {}
    return httpx.post(f"{server.url}/login", content=name, headers=headers, timeout=PATIENCE)


def test_any_worker_knows_a_session_and_no_visit_is_lost(start: Start, redis: RedisServer) -> None:
    server = serving(start, redis, "redis_sessions")
    assert statuses(ask(server, 1)) == {401: 1}
    cookie = cookie_of(login(server, "Ada"))
    visits = [answer.json() for answer in ask(server, 20, headers={"cookie": f"session={cookie}"})]
    assert sorted(visit["visits"] for visit in visits) == list(range(1, 21))
    assert {visit["user"] for visit in visits} == {"Ada"}
    assert len({visit["worker"] for visit in visits}) > 1, "all in one worker"
    os.kill(visits[0]["worker"], signal.SIGKILL)
    server.wait_for_log("is ready")
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded")
    [after] = ask(server, 1, headers={"cookie": f"session={cookie}"})
    assert after.json()["visits"] == 21
    assert server.stop() == 0


def test_a_login_makes_a_new_secret_and_a_logout_ends_it(start: Start, redis: RedisServer) -> None:
    server = serving(start, redis, "redis_sessions")
    first = cookie_of(login(server, "Ada"))
    second = cookie_of(login(server, "Ada", first))
    assert first != second
    assert statuses(ask(server, 1, headers={"cookie": f"session={first}"})) == {401: 1}
    assert statuses(ask(server, 1, headers={"cookie": f"session={second}"})) == {200: 1}
    assert httpx.post(f"{server.url}/logout", headers={"cookie": f"session={second}"}).status_code == 204
    assert statuses(ask(server, 1, headers={"cookie": f"session={second}"})) == {401: 1}
    assert server.stop() == 0


def test_without_redis_clients_are_told_to_come_again_and_keep_their_cookie(start: Start, redis: RedisServer) -> None:
    server = serving(start, redis, "redis_sessions", AWAY)
    cookie = cookie_of(login(server, "Ada"))
    redis.pause()
    [answer] = ask(server, 1, headers={"cookie": f"session={cookie}"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "set-cookie" not in answer.headers
    redis.resume()
    assert statuses(ask(server, 1, headers={"cookie": f"session={cookie}"})) == {200: 1}
    redis.kill()
    assert login(server, "Ada").status_code == 503
    redis.start()
    assert login(server, "Ada").status_code == 204
    assert server.stop() == 0
