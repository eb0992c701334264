"""The types of the ASGI specification (3.0)."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

HTTP_VERSIONS: dict[str, str] = {"version": "3.0", "spec_version": "2.5"}
WEBSOCKET_VERSIONS: dict[str, str] = {"version": "3.0", "spec_version": "2.5"}
LIFESPAN_VERSIONS: dict[str, str] = {"version": "3.0", "spec_version": "2.0"}

Headers = list[tuple[bytes, bytes]]
State = dict[str, Any]
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

# The type of objects of the application, of the event loop and of others that are not checked by types.
Unchecked = Any
