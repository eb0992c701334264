"""The ASGI scope of a request, built here alone: of one over HTTP, and of one that opens a WebSocket. Pure.

What a scope says of the connection (`scheme`, `client`, `server`) and of the path's prefix (`root_path`) comes from the
`Peer`, which belongs to one connection, or to one request where a proxy tells who its client is.
"""

from typing import Protocol

from corehttp.asgi import HTTP_VERSIONS, WEBSOCKET_VERSIONS, Headers, Scope, State, Unchecked
from corehttp.protocols.peer import Peer
from corehttp.text import unquoted

Extensions = dict[str, dict[str, Unchecked]]  # names, and what each one offers (ASGI specification, Extensions)

# Every key of a request's scope in its place (ASGI HTTP specification 2.5). To copy this and set the values takes a
# fifth less time than to build the dictionary anew.
_HTTP: dict[str, Unchecked] = {
    "type": "http",
    "asgi": {},
    "http_version": "1.1",
    "method": "",
    "scheme": "",
    "path": "",
    "raw_path": b"",
    "query_string": b"",
    "root_path": "",
    "headers": [],
    "client": None,
    "server": None,
    "state": {},
    "extensions": {},
}


class Offers(Protocol):
    """What the scopes of all requests of a worker have in common; each scope gets a copy, since applications write."""

    state: State  # that the application has set in its lifespan
    extensions: Extensions  # that every request over HTTP is offered


def http_scope(
    offers: Offers, peer: Peer, method: str, version: str, target: bytes, text: str, headers: Headers
) -> dict[str, Unchecked]:
    """The scope of a request.

    `target` is the request's target as path and query, or `*`; `text` is the target as the client has sent it.
    """
    raw_path, _, query = target.partition(b"?")
    path = text if len(raw_path) == len(text) else raw_path.decode()  # most targets are a path and nothing else
    scope = _HTTP.copy()
    if "%" in path:
        path = unquoted(path)
    if peer.root_path and raw_path != b"*":
        path = peer.root_path + path
        raw_path = peer.raw_root_path + raw_path
    if version != "1.1":
        scope["http_version"] = version
    scope["method"] = method
    scope["scheme"] = peer.scheme
    scope["path"] = path
    scope["raw_path"] = raw_path
    scope["query_string"] = query
    scope["root_path"] = peer.root_path
    scope["headers"] = headers
    scope["client"] = peer.client
    scope["server"] = peer.server
    scope["state"] = offers.state.copy()
    scope["asgi"] = HTTP_VERSIONS.copy()
    scope["extensions"] = extensions = offers.extensions.copy()
    for name in extensions:  # whatever an application writes into its scope is gone with its request
        extensions[name] = extensions[name].copy()
    return scope


def websocket_scope(scope: Scope, subprotocols: list[str], extensions: Extensions) -> Scope:
    """Make the scope of the request that opens a WebSocket the WebSocket's (ASGI WebSocket specification 2.5).

    `subprotocols` are those that the client offers, `extensions` those that every WebSocket is offered.
    """
    del scope["method"]
    scope["type"] = "websocket"
    scope["asgi"] = WEBSOCKET_VERSIONS.copy()
    scope["scheme"] = "wss" if scope["scheme"] == "https" else "ws"
    scope["subprotocols"] = subprotocols.copy()
    scope["extensions"] = {name: extension.copy() for name, extension in extensions.items()}
    return scope
