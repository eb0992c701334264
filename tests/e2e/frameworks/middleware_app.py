"""File responses behind middleware of many kinds, none of which knows more than start and body messages."""

import os
from hashlib import sha256

from baize.asgi import FileResponse as BaizeFileResponse
from brotli_asgi import BrotliMiddleware
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from zstd_asgi import ZstdMiddleware  # type: ignore[import-untyped]

from corehttp.asgi import ASGIApp, Message, Receive, Scope, Send

FILE = os.environ.get("FILE_TO_SEND", __file__)


async def starlettes(request: Request) -> FileResponse:
    return FileResponse(FILE, media_type="text/plain")


class Baizes:
    """An application: Starlette would take a function for one that answers a Request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await BaizeFileResponse(FILE, content_type="text/plain")(scope, receive, send)


class Tagging(BaseHTTPMiddleware):
    """Reads the whole response to give it an ETag: a recipe that is found everywhere."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        body = b"".join([piece async for piece in response.body_iterator])  # type: ignore[attr-defined]
        headers = {**response.headers, "etag": f'"{sha256(body).hexdigest()}"'}
        return Response(body, response.status_code, headers)


class Passing:
    """Passes on the messages that it knows."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def passed(message: Message) -> None:
            if message["type"] in ("http.response.start", "http.response.body"):
                await send(message)

        await self._app(scope, receive, passed)


files = Starlette(routes=[Route("/starlette", starlettes), Route("/baize", Baizes())])
app = Starlette(
    routes=[
        Mount("/brotli", BrotliMiddleware(files)),
        Mount("/zstd", ZstdMiddleware(files)),
        Mount("/gzip", GZipMiddleware(files)),
        Mount("/tagging", Tagging(files)),
        Mount("/passing", Passing(files)),
        Mount("/none", files),
    ]
)
