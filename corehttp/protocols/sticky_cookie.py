"""An application around another one, which sets a cookie that ties a client to its worker (`--sticky cookie`)."""

from typing import Protocol

from corehttp.asgi import ASGIApp, Message, Receive, Scope, Send

NAME = "corehttp"  # the name of the cookie

# The messages that have the fields of a response.
_HEADS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


class Tickets(Protocol):
    """Says which requests are to have a cookie set in their response."""

    def ticket(self, scope: Scope) -> bytes | None:
        """Return the value of the cookie for the client of a request; None if the client is to get none."""
        ...


class CookieSetter:
    """The application that is called in the place of `app`."""

    def __init__(self, app: ASGIApp, tickets: Tickets) -> None:
        self._app = app
        self._tickets = tickets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, and add the cookie to its response if the client is to have one."""
        value = self._tickets.ticket(scope)
        if value is None:
            return await self._app(scope, receive, send)
        secure = b"; Secure" if scope["scheme"] in ("https", "wss") else b""
        field = (b"set-cookie", b"%b=%b; HttpOnly; SameSite=Lax; Path=/%b" % (NAME.encode(), value, secure))

        async def send_with_cookie(message: Message) -> None:
            if isinstance(message, dict) and message.get("type") in _HEADS:
                message = {**message, "headers": [*(message.get("headers") or ()), field]}
            await send(message)

        return await self._app(scope, receive, send_with_cookie)
