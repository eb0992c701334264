"""The traceback of an application's error as the answer to its request, for its developer on this machine.

It shows source code and whatever an error's message holds, so it is for nobody else. An error that an application has
answered with 500 itself, as frameworks do, is shown in place of that answer.
"""

import html
import re

from corehttp.asgi import ASGIApp, Headers, Message, Receive, Scope, Send, Unchecked
from corehttp.loopback import is_loopback
from corehttp.protocols.field_names import is_forwarding
from corehttp.text import shown
from corehttp.tracebacks import application_traceback

MOST_HELD = 65536  # bytes of the application's own answer that are held back until it is known whether it fails

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 16px sans-serif; margin: 2em }} pre {{ overflow-x: auto; line-height: 1.4 }}</style>
<h1>{title}</h1><p>{request}</p><pre>{traceback}</pre>
<p>Only this machine is shown this, because of --debug-exceptions.</p></html>
"""


class DebugExceptions:
    """An ASGI application that serves another one, and answers with tracebacks where that fails."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as the application does; raises what it raises, after the answer."""
        if scope["type"] != "http" or not is_from_here(scope):
            return await self._app(scope, receive, send)
        answer = _HeldAnswer(send)
        headers = list(scope["headers"])  # the application owns its scope, and may change it
        request = f"{scope['method']} {scope['path']}"
        try:
            await self._app(scope, receive, answer.send)
        except Exception as error:
            if not answer.begun:
                for message in _page(error, request, headers):
                    await send(message)
            raise
        return await answer.release()


class _HeldAnswer:
    """What an application answers: passed on at once, but for an answer of 500, which may be that of a framework."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: list[Message] = []
        self._size = 0
        self.begun = False  # whether something of the answer was passed on

    async def send(self, message: Message) -> None:
        """Pass a message on, or hold it back."""
        if not self.begun and self._is_held(message):
            self._held.append(message)
            return
        await self.release()
        self.begun = True
        await self._send(message)

    async def release(self) -> None:
        """Pass on what is held back."""
        held, self._held = self._held, []
        for message in held:
            self.begun = True
            await self._send(message)

    def _is_held(self, message: Message) -> bool:
        """Whether a message begins an answer of 500, or follows such a beginning and is not too large."""
        match message.get("type"), message.get("status"):
            case "http.response.start", 500:
                return not self._held
            case "http.response.body", _ if self._held:
                body: Unchecked = message.get("body", b"")
                self._size += len(body) if isinstance(body, bytes | bytearray | memoryview) else MOST_HELD
                return self._size < MOST_HELD
        return False


def is_from_here(scope: Scope) -> bool:
    """Whether a request comes from a program on this machine itself, as far as anything tells.

    Both ends of its connection and its Host are this machine's loopback, which a name that leads here only by DNS
    rebinding is not; and no proxy has passed it on for somebody else, which its fields would say (RFC 7239; RFC 9110,
    7.6.3), or HTTP/1.0, which proxies speak and browsers do not.
    """
    client, server = scope.get("client"), scope.get("server")
    if not client or not server or scope["http_version"] == "1.0":
        return False
    fields = scope["headers"]
    if any(is_forwarding(name) or name == b"via" for name, _ in fields):
        return False
    hosts = [value.decode("latin-1") for name, value in fields if name == b"host"]
    names = [re.sub(r":[0-9]*$", "", host).lower() for host in hosts]
    local = all(name == "localhost" or name.endswith(".localhost") or is_loopback(name) for name in names)
    return local and is_loopback(client[0]) and is_loopback(server[0])


def _page(error: Exception, request: str, headers: Headers) -> list[Message]:
    """Return the messages of an answer with the traceback: a page for a browser, plain text for others."""
    traceback, title = application_traceback(error), shown(error)
    accept = b",".join(value for name, value in headers if name == b"accept")
    if b"text/html" in accept:
        kind = b"text/html; charset=utf-8"
        parts = {"title": title, "request": request, "traceback": traceback}
        text = _PAGE.format(**{name: html.escape(part) for name, part in parts.items()})
    else:
        kind, text = b"text/plain; charset=utf-8", f"{request}\n\n{traceback}"
    body = text.encode("utf-8", "backslashreplace")
    fields = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        (b"x-content-type-options", b"nosniff"),
    ]
    return [
        {"type": "http.response.start", "status": 500, "headers": fields},
        {"type": "http.response.body", "body": body},
    ]
