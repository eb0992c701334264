"""Log the ASGI events of an application, for `--log-level trace`: each scope, and what is received and sent.

Bodies and texts are shown as their sizes, header fields as their names and sizes, for either may hold secrets. The
`state` and the extensions of a scope are shown as their names.
"""

import logging

from corehttp.asgi import ASGIApp, Message, Receive, Scope, Send, Unchecked
from corehttp.logs import TRACE
from corehttp.text import printable, shown

_LONGEST = 8000  # characters of a line; the longest request target that is taken by default has 8,192
_MOST_FIELDS = 128  # header fields that are shown of one event

logger = logging.getLogger("corehttp.error")
logging.addLevelName(TRACE, "TRACE")


class EventTrace:
    """An ASGI application that serves another one and logs each of its events with the level TRACE, in uvicorn's words.

    Nothing is logged while the level of the logger is above that.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as the application does; raises what it raises."""
        if not logger.isEnabledFor(TRACE):
            return await self._app(scope, receive, send)
        self._calls += 1
        who = _client(scope) + f"ASGI [{self._calls}]"

        async def traced_receive() -> Message:
            message = await receive()
            _log(who, "Receive ", message)
            return message

        async def traced_send(message: Message) -> None:
            _log(who, "Send ", message)
            await send(message)

        _log(who, "Started scope=", scope)
        try:
            await self._app(scope, traced_receive, traced_send)
        except BaseException as error:  # also CancelledError
            logger.log(TRACE, "%s Raised exception %s", who, printable(shown(error)[:_LONGEST]))
            raise
        logger.log(TRACE, "%s Completed", who)
        return None


def _client(scope: Scope) -> str:
    """Return the client of a scope and a hyphen, as a line begins with them; empty where there is none."""
    client = scope.get("client")
    return f"{client[0]}:{client[1]} - " if client else ""


def _log(who: str, what: str, event: Unchecked) -> None:
    """Log an event; one that is no dictionary, which the server refuses, is shown as it is."""
    try:
        text = "{" + ", ".join(f"{name!r}: {_value(name, value)}" for name, value in event.items()) + "}"
    except Exception:
        text = shown(event)
    logger.log(TRACE, "%s %s%s", who, what, printable(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"))


def _value(name: str, value: Unchecked) -> str:
    """Return the value of an event as it is shown."""
    match name, value:
        case ("body" | "bytes", bytes() | bytearray() | memoryview()):
            return f"<{len(value)} bytes>"
        case "text", str():
            return f"<{len(value)} characters>"
        case "headers", list() | tuple():
            return "[" + ", ".join(f"{_text(field)} <{len(held)} bytes>" for field, held in value[:_MOST_FIELDS]) + "]"
        case "headers", _:  # an iterator, which is the server's to read
            return f"<{type(value).__name__}>"
        case ("state" | "extensions", dict()):
            return f"<{', '.join(map(str, value))}>"
        case _:
            return shown(value)


def _text(field: bytes) -> str:
    """Return the name of a header field as text."""
    return bytes(field).decode("latin-1")
