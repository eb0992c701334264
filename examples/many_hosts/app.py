"""A shop on several hosts: sessions in Redis, prices from Redis that each worker caches, kept fresh over the bus.

examples/many_hosts/README.md says how to start it on three hosts.
"""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from corehttp import bus, worker

HOST = os.environ.get("HOST_NAME") or socket.gethostname()
SESSION = 3600  # seconds that a session lasts after its last request

# A Redis that does not answer must not hold requests for long: they are answered with 503.
store = Redis.from_url(os.environ.get("STORE", "redis://127.0.0.1"), decode_responses=True, socket_timeout=2)


class Prices:
    """What this worker has read of the prices in Redis. Any change of one, by whichever host, makes it forget that."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._changes = 0
        self.gaps = 0  # how often messages may have been missed

    async def read(self, item: str) -> str:
        """Return the price of an item; Redis is asked only if this worker does not know it."""
        if item in self._known:
            return self._known[item]
        before = self._changes
        price = str(await store.get(f"price:{item}") or "none")
        if self._changes == before:  # else it may have changed while it was read
            self._known[item] = price
        return price

    async def keep_fresh(self, started: asyncio.Event) -> None:
        """Forget what other workers, and this one, say has changed."""
        async with bus.subscribe("price", gaps=True) as messages:
            started.set()
            async for message in messages:
                self._changes += 1
                if isinstance(message, bus.Gap) or message.lost:
                    self.gaps += 1
                    self._known.clear()
                else:
                    self._known.pop(message.data.decode(), None)


prices = Prices()


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        started = asyncio.Event()
        listening = tasks.create_task(prices.keep_fresh(started))
        await started.wait()
        yield
        listening.cancel()
    await store.aclose()


def who() -> dict[str, object]:
    return {"host": HOST, "worker": worker.id, "gaps": prices.gaps}


async def log_in(request: Request) -> Response:
    secret = secrets.token_urlsafe(24)
    await store.set(f"session:{secret}", request.path_params["user"], ex=SESSION)
    response = JSONResponse(who())
    response.set_cookie("session", secret, max_age=SESSION, httponly=True, samesite="lax")
    return response


async def me(request: Request) -> Response:
    user = await store.getex(f"session:{request.cookies.get('session', '')}", ex=SESSION)
    return JSONResponse({"user": user, **who()})


async def price(request: Request) -> Response:
    return JSONResponse({"price": await prices.read(request.path_params["item"]), **who()})


async def set_price(request: Request) -> Response:
    """Change a price. It is in Redis first: whoever hears of the change then reads what is new."""
    item = request.path_params["item"]
    await store.set(f"price:{item}", (await request.body()).decode())
    try:
        await bus.publish("price", item.encode(), scope="fleet")
    except bus.BusDownError:
        return JSONResponse({"told": "this host only, others when they can be told", **who()}, 202)
    return JSONResponse({"told": "all hosts", **who()})


async def health(request: Request) -> Response:
    """Say that this host serves, which does not need Redis: without it all hosts are as well off as each other."""
    return Response()


async def without_store(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the store is not there"}, 503, {"retry-after": "1"})


app = Starlette(
    routes=[
        Route("/", me),
        Route("/login/{user}", log_in, methods=["POST"]),
        Route("/price/{item}", price, methods=["GET"]),
        Route("/price/{item}", set_price, methods=["PUT"]),
        Route("/health", health),
    ],
    exception_handlers={RedisError: without_store},
    lifespan=lifespan,
)
