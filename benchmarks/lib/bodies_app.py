"""The application of the workloads with bodies: it echoes, sends a large one, streams, and takes uploads."""

from corehttp.asgi import Receive, Scope, Send

_LARGE = b"x" * (1 << 20)
_CHUNK = b"y" * 100
_CHUNKS = 1000
_PLAIN = [(b"content-type", b"text/plain; charset=utf-8")]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `GET /`, `POST /echo`, `GET /large` (1 MiB), `GET /stream` (1,000 chunks) and `POST /upload`."""
    assert scope["type"] == "http"
    match scope["path"]:
        case "/echo":
            await _respond(send, await _body(receive), b"application/json")
        case "/large":
            await _respond(send, _LARGE)
        case "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": _PLAIN})
            for _ in range(_CHUNKS):
                await send({"type": "http.response.body", "body": _CHUNK, "more_body": True})
            await send({"type": "http.response.body"})
        case "/upload":
            size = 0
            more = True
            while more:
                message = await receive()
                size += len(message.get("body", b""))
                more = message.get("more_body", False)
            await _respond(send, b"%d" % size)
        case _:
            await _respond(send, b"hello")


async def any_path(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer every path alike."""
    assert scope["type"] == "http"
    await _respond(send, b"Hello, world!")


async def _body(receive: Receive) -> bytes:
    """Return the whole body of the request."""
    pieces = []
    more = True
    while more:
        message = await receive()
        pieces.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(pieces)


async def _respond(send: Send, body: bytes, kind: bytes = b"text/plain; charset=utf-8") -> None:
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
