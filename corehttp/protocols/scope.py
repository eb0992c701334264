"""The ASGI scope of a request, built here alone: of one over HTTP, and of one that opens a WebSocket. Pure.

What a scope says of the connection (`scheme`, `client`, `server`) and of the path's prefix (`root_path`) comes from the
`Peer`, which belongs to one connection, or to one request where a proxy tells who its client is.
"""

from typing import Protocol

from corehttp.asgi import HTTP_VERSIONS, WEBSOCKET_VERSIONS, Headers, Scope, State, Unchecked
from corehttp.protocols.peer import Peer
from corehttp.text import unquoted

HTTPScope = dict[str, Unchecked]
Extensions = dict[str, dict[str, Unchecked]]  # names, and what each one offers (ASGI specification, Extensions)

# Every key of a request's scope in its place (ASGI HTTP specification 2.5). To copy this and set the values takes a
# fifth less time than to build the dictionary anew.
_HTTP: HTTPScope = {
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


# What follows from the connection alone, whatever is asked for over it: the extension `tls`, and the mark of a request
# that has come through a bind of --redirect-http.
REDIRECTED = "corehttp.redirected"
OF_CONNECTION = ("tls", REDIRECTED)


class Offers(Protocol):
    """What the scopes of all requests of a worker, or of a connection, have in common.

    Each scope gets a copy, since applications write into it.
    """

    state: State  # what the application has set in its lifespan
    extensions: Extensions  # those that every request over HTTP is offered


def http_scope(
    offers: Offers, peer: Peer, method: str, version: str, target: bytes, text: str, headers: Headers
) -> HTTPScope:
    """The scope of a request.

    `target` is the request's target as path and query, or `*`; `text` is the target as the client has sent it.
    """
    scope = _HTTP.copy()
    if version != "1.1":
        scope["http_version"] = version
    scope["method"] = method
    scope["scheme"] = peer.scheme
    set_target(scope, peer, target, text)
    scope["root_path"] = peer.root_path
    scope["client"] = peer.client
    scope["server"] = peer.server
    scope["headers"] = headers
    scope["state"] = offers.state.copy()
    scope["asgi"] = HTTP_VERSIONS.copy()
    scope["extensions"] = extensions = offers.extensions.copy()
    for name in extensions:  # whatever an application writes into its scope is gone with its request
        extensions[name] = extensions[name].copy()
    return scope


def set_target(scope: Scope, peer: Peer, target: bytes, text: str) -> None:
    """Set what a scope says of the path and the query; the arguments are those of `http_scope`."""
    raw_path, _, query = target.partition(b"?")
    path = text if len(raw_path) == len(text) else raw_path.decode()  # most targets are a path and nothing else
    if "%" in path:
        path = unquoted(path)
    if peer.root_path and raw_path != b"*":
        path = peer.root_path + path
        raw_path = peer.raw_root_path + raw_path
    scope["path"] = path
    scope["raw_path"] = raw_path
    scope["query_string"] = query


def scope_like(template: HTTPScope, headers: Headers, offers: Offers) -> HTTPScope:
    """Another scope like `template`, with these headers; nothing that an application writes into it is shared."""
    scope = template.copy()
    scope["headers"] = headers.copy()
    scope["state"] = offers.state.copy()
    scope["asgi"] = HTTP_VERSIONS.copy()
    scope["extensions"] = extensions = offers.extensions.copy()
    for name in extensions:
        extensions[name] = extensions[name].copy()
    return scope


def websocket_scope(scope: Scope, subprotocols: list[str], extensions: Extensions) -> Scope:
    """Make the scope of the request that opens a WebSocket the WebSocket's (ASGI WebSocket specification 2.5).

    `subprotocols` are those that the client offers, `extensions` those that every WebSocket is offered.
    """
    offered = scope["extensions"]
    del scope["method"]
    scope["type"] = "websocket"
    scope["asgi"] = WEBSOCKET_VERSIONS.copy()
    scope["scheme"] = "wss" if scope["scheme"] == "https" else "ws"
    scope["subprotocols"] = subprotocols.copy()
    scope["extensions"] = {name: extension.copy() for name, extension in extensions.items()}
    for name in OF_CONNECTION:
        if name in offered:
            scope["extensions"][name] = offered[name]
    return scope
