"""Sessions in Redis: any worker of any host answers, and a reload or a death loses nobody's session.

Run it: REDIS_URL=redis://127.0.0.1:6379/0 python -m corehttp examples.redis_sessions:app --workers 4
"""

import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from examples.rate_limit import connect

COOKIE = "session"
SECONDS = 14 * 24 * 3600  # that a session lives on after each visit

# One script, which Redis runs whole: requests of one client at the same time are all counted, and one that comes beside
# a logout does not bring the session back.
VISIT = """
if redis.call("EXISTS", KEYS[1]) == 0 then
    return false
end
redis.call("HINCRBY", KEYS[1], "visits", 1)
redis.call("EXPIRE", KEYS[1], ARGV[1])
return redis.call("HMGET", KEYS[1], "user", "visits")
"""


class Sessions:
    """What the service knows of those who are logged in."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._visit = redis.register_script(VISIT)

    async def begin(self, user: str) -> str:
        """Begin a session, and return the secret that stands for it."""
        secret = secrets.token_urlsafe(32)
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hset(_key(secret), mapping={"user": user, "visits": 0})
            pipeline.expire(_key(secret), SECONDS)
            await pipeline.execute()
        return secret

    async def visit(self, secret: str) -> tuple[str, int] | None:
        """Count a visit; return who it is and how many there were, None without such a session."""
        found = await self._visit(keys=[_key(secret)], args=[SECONDS])
        return (found[0].decode(), int(found[1])) if found else None

    async def end(self, secret: str) -> None:
        await self._redis.delete(_key(secret))


def _key(secret: str) -> str:
    """The key in Redis: who can read Redis cannot take over a session with it."""
    return "session:" + hashlib.sha256(secret.encode()).hexdigest()


class State(TypedDict):
    sessions: Sessions


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[State]:
    async with connect(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")) as redis:
        yield {"sessions": Sessions(redis)}


async def login(request: Request) -> Response:
    """Begin a session for a name. A real application checks a password here."""
    user = (await request.body()).decode(errors="replace")[:100]
    sessions: Sessions = request.state.sessions
    # A new secret at each login: one that somebody has planted in the browser before is worth nothing.
    await sessions.end(request.cookies.get(COOKIE, ""))
    secret = await sessions.begin(user)
    response = Response(status_code=204)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, secret, max_age=SECONDS, httponly=True, samesite="lax", secure=secure)
    return response


async def visit(request: Request) -> Response:
    sessions: Sessions = request.state.sessions
    found = await sessions.visit(request.cookies.get(COOKIE, ""))
    if found is None:
        return JSONResponse({"error": "not logged in"}, status_code=401)
    user, visits = found
    return JSONResponse({"user": user, "visits": visits, "worker": os.getpid()})


async def logout(request: Request) -> Response:
    sessions: Sessions = request.state.sessions
    await sessions.end(request.cookies.get(COOKIE, ""))
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="lax")
    return response


async def without_redis(request: Request, error: Exception) -> Response:
    """Nobody is logged out because Redis is away: the client keeps its cookie, and comes again."""
    return JSONResponse({"error": "try again"}, status_code=503, headers={"retry-after": "1"})


app = Starlette(
    routes=[
        Route("/", visit),
        Route("/login", login, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
    ],
    exception_handlers={RedisError: without_redis},
    lifespan=lifespan,
)
