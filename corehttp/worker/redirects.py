"""Answers that send a client from http to https, for the binds of --redirect-http."""

import re
from collections.abc import Awaitable

from corehttp.asgi import ASGIApp, Receive, Scope, Send
from corehttp.protocols.fields import is_host
from corehttp.protocols.scope import REDIRECTED

_PORT = re.compile(rb":[0-9]*\Z")
_DEFAULT = 443  # the port of https (RFC 9110, 4.2.2)


class Redirects:
    """An ASGI application that serves another one, and redirects what has come through a bind of --redirect-http."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        """`port` is where the service speaks TLS, as its clients know it."""
        self._app = app
        self._port = b"" if port == _DEFAULT else b":%d" % port

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Serve as the application does, or redirect."""
        if REDIRECTED in scope.get("extensions", ()):
            return self._redirect(scope, send)
        return self._app(scope, receive, send)

    async def _redirect(self, scope: Scope, send: Send) -> None:
        """Answer a request with 308 to the same URL with https (RFC 9110, 15.4.9); refuse a WebSocket."""
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        if host and is_host(host):
            status, field, body = 308, (b"location", self._url(scope, host)), b""
        else:
            status, field, body = 400, (b"content-type", b"text/plain"), b"Name a host: this address leads to https\n"
        headers = [field, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _url(self, scope: Scope, host: bytes) -> bytes:
        """Return the URL of a request with https, on the port of the service."""
        path, query = scope["raw_path"], scope["query_string"]
        target = b"/" if path == b"*" else path
        return b"https://" + _PORT.sub(b"", host) + self._port + target + (b"?" + query if query else b"")
