"""The ASGI scope of a request: what comes from the request, from its peer, and from the worker."""

import dataclasses

import pytest

from corehttp.asgi import State
from corehttp.protocols.peer import Peer, direct
from corehttp.protocols.scope import Extensions, http_scope, websocket_scope

PEER = direct(("192.0.2.1", 50000), ("192.0.2.2", 8000))


class Offered:
    """What a worker offers to every request."""

    def __init__(self) -> None:
        self.state: State = {"pool": 1}
        self.extensions: Extensions = {"http.response.pathsend": {}}


def scope_of(target: bytes, peer: Peer = PEER, version: str = "1.1") -> dict[str, object]:
    return http_scope(Offered(), peer, "GET", version, target, target.decode(), [(b"host", b"a")])


def test_a_scope_has_every_key_of_the_specification() -> None:
    assert scope_of(b"/a?b=c") == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/a",
        "raw_path": b"/a",
        "query_string": b"b=c",
        "root_path": "",
        "headers": [(b"host", b"a")],
        "client": ("192.0.2.1", 50000),
        "server": ("192.0.2.2", 8000),
        "state": {"pool": 1},
        "extensions": {"http.response.pathsend": {}},
    }


def test_scheme_client_server_and_prefix_are_the_peers() -> None:
    peer = dataclasses.replace(
        PEER, scheme="https", client=None, server=("/s", None), root_path="/\xfc", raw_root_path=b"/%C3%BC"
    )
    scope = scope_of(b"/a", peer)
    assert (scope["scheme"], scope["client"], scope["server"]) == ("https", None, ("/s", None))
    assert (scope["root_path"], scope["path"], scope["raw_path"]) == ("/\xfc", "/\xfc/a", b"/%C3%BC/a")


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        (b"/", "/", b"/", b""),
        (b"/a%20b", "/a b", b"/a%20b", b""),
        (b"/a%2Fb?c%20", "/a/b", b"/a%2Fb", b"c%20"),
        (b"/?", "/", b"/", b""),
        (b"/a?b?c", "/a", b"/a", b"b?c"),
        (b"*", "*", b"*", b""),
    ],
)
def test_a_target_is_split_and_its_path_decoded(target: bytes, path: str, raw_path: bytes, query: bytes) -> None:
    scope = scope_of(target)
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw_path, query)


def test_the_target_of_no_path_has_no_prefix() -> None:
    peer = dataclasses.replace(PEER, root_path="/a", raw_root_path=b"/a")
    assert scope_of(b"*", peer)["path"] == "*"


def test_the_version_is_the_requests() -> None:
    assert scope_of(b"/", version="1.0")["http_version"] == "1.0"


def test_what_an_application_writes_is_gone_with_its_request() -> None:
    offered = Offered()
    scope = http_scope(offered, PEER, "GET", "1.1", b"/", "/", [])
    scope["state"]["pool"] = 2
    scope["extensions"]["http.response.pathsend"]["a"] = 1
    scope["extensions"]["b"] = {}
    scope["asgi"]["version"] = "4"
    assert offered.state == {"pool": 1}
    assert offered.extensions == {"http.response.pathsend": {}}
    assert scope_of(b"/")["asgi"] == {"version": "3.0", "spec_version": "2.5"}


@pytest.mark.parametrize(("scheme", "expected"), [("http", "ws"), ("https", "wss")])
def test_the_scope_of_a_websocket_is_that_of_its_request(scheme: str, expected: str) -> None:
    offered: list[str] = ["chat"]
    extensions: Extensions = {"websocket.http.response": {}}
    scope = websocket_scope(scope_of(b"/ws", dataclasses.replace(PEER, scheme=scheme)), offered, extensions)
    assert "method" not in scope
    assert (scope["type"], scope["scheme"], scope["path"]) == ("websocket", expected, "/ws")
    scope["subprotocols"].append("x")
    scope["extensions"]["websocket.http.response"]["a"] = 1
    assert offered == ["chat"]
    assert extensions == {"websocket.http.response": {}}
