"""A rate limiter in Redis, as ASGI middleware: so many requests of a client in a window, in all workers and hosts.

Run it: REDIS_URL=redis://127.0.0.1:6379/0 python -m corehttp examples.rate_limit:app --workers 4
RATE_LIMIT is how many requests a client has in RATE_WINDOW seconds. The client is `scope["client"]`: behind a proxy it
is the right one if the proxy is trusted (docs/proxies.md).
"""

import ipaddress
import logging
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ClosedError
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# One script, which Redis runs whole: a client between INCR and PEXPIRE that died would leave a count that never ends.
COUNT = """
local count = redis.call("INCR", KEYS[1])
if count == 1 then
    redis.call("PEXPIRE", KEYS[1], ARGV[1])
end
return {count, redis.call("PTTL", KEYS[1])}
"""

TIMEOUT = float(os.environ.get("REDIS_TIMEOUT", "0.5"))  # seconds

logger = logging.getLogger(__name__)


def connect(url: str) -> Redis:
    """A client for one worker: at most 20 connections, TIMEOUT seconds for each step.

    A second try is made at once where the connection was found to be closed, as after a restart of Redis, but not where
    no answer has come, since what is sent twice may count twice. By default redis-py tries for many seconds.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=20,
        timeout=TIMEOUT,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        retry=Retry(NoBackoff(), 1, supported_errors=(ClosedError,)),
    )
    return Redis.from_pool(pool)


def client_of(scope: Scope) -> str:
    """Who is counted: an IPv4 address, or the first half of an IPv6 address, since a client has all the others too."""
    host = (scope.get("client") or ("", 0))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:  # on a socket for both versions
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))


class RateLimit:
    """Answers 429 to clients that ask too often. Without Redis it lets everybody in, and says so once."""

    def __init__(self, app: App, redis: Redis, limit: int, window: float) -> None:
        self._app = app
        self._redis = redis
        self._count = redis.register_script(COUNT)
        self._limit = limit
        self._milliseconds = math.ceil(window * 1000)
        self._away = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (seconds := await self._seconds_to_wait(client_of(scope))):
            headers = [(b"retry-after", b"%d" % seconds), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 429, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._app(scope, receive, send)

    async def _seconds_to_wait(self, client: str) -> int:
        """Count a request; return in how many seconds the client may come back, 0 if it is within the limit."""
        try:
            count, left = await self._count(keys=[f"rate:{client}"], args=[self._milliseconds])
        except RedisError as error:
            if not self._away:
                logger.warning("Redis is away, nobody is limited: %r", error)
            self._away = True
            return 0
        self._away = False
        return math.ceil(left / 1000) if count > self._limit else 0


redis = connect(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
limit, window = int(os.environ.get("RATE_LIMIT", "100")), float(os.environ.get("RATE_WINDOW", "60"))


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with redis:
        yield


async def hello(request: Request) -> Response:
    return PlainTextResponse(f"Hello from {os.getpid()}\n")


app = Starlette(
    routes=[Route("/", hello)],
    middleware=[Middleware(RateLimit, redis=redis, limit=limit, window=window)],
    lifespan=lifespan,
)
