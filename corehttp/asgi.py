"""The types of the ASGI specification (3.0): the only home of Any."""

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

# What an import brings before we know that it is an application.
Unchecked = Any
