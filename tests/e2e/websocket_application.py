"""The application of the tests with WebSockets, in plain ASGI, and a page that opens one in a browser."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from urllib.parse import parse_qsl

from corehttp.protocols.websocket.masking import unmask
from tests.e2e.application import Message, Receive, Scope, Send, body, live, note, respond

Query = dict[str, str]
Action = Callable[[Scope, Query, Receive, Send], Awaitable[None]]

PAGE = b"""<!doctype html>
<script>
  const query = new URLSearchParams(location.search);
  const report = what => fetch("/report", {method: "POST", body: JSON.stringify(what)});
  const socket = new WebSocket(query.get("socket"), ["talk", "chat"]);
  const heard = [];
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    socket.send("gr\\u00fc\\u00dfe");
    socket.send("long ".repeat(20000));
    socket.send(new Uint8Array([0, 1, 254, 255]));
  };
  socket.onmessage = event => {
    heard.push(typeof event.data == "string" ? event.data : Array.from(new Uint8Array(event.data)));
    if (heard.length == 3) {
      report({protocol: socket.protocol, extensions: socket.extensions, heard});
      if (query.has("leave")) socket.close(3001, "enough");
    }
  };
  socket.onclose = event => report({code: event.code, reason: event.reason, clean: event.wasClean});
</script>
"""

listeners: set[asyncio.Queue[str]] = set()


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    query = dict(parse_qsl(scope.get("query_string", b"").decode(), keep_blank_values=True))
    match scope["type"]:
        case "lifespan":
            await live(receive, send)
        case "http":
            await serve_page(scope, receive, send)
        case "websocket":
            assert (await receive())["type"] == "websocket.connect"
            await actions[scope["path"]](scope, query, receive, send)
        case unknown:
            raise ValueError(unknown)


async def serve_page(scope: Scope, receive: Receive, send: Send) -> None:
    match scope["path"]:
        case "/page":
            headers = [(b"content-type", b"text/html; charset=utf-8")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": PAGE})
        case "/unmasking":
            await respond(send, unmask.__name__)
        case "/report":
            keep((await body(receive)).decode())
            await respond(send, "reported")
        case _:
            await respond(send, "hello")


def keep(report: str) -> None:
    """For the test to read."""
    with open("reports", "a") as file:
        file.write(report + "\n")


async def echo(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    """Say who we are if that is asked for, then what is heard, as it was heard."""
    await accept(scope, send)
    if "who" in query:
        await say(send, str(os.getpid()))
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
    ended(message)


async def close(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    await accept(scope, send)
    await send({"type": "websocket.close", "code": int(query["code"]), "reason": query["reason"]})
    ended(await receive())


async def refuse(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close"})


async def deny(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    """Answer with an HTTP response, in two pieces."""
    headers = [(b"x-why", b"tea")]
    await send({"type": "websocket.http.response.start", "status": 418, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"a ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"teapot"})


async def witness(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    """Tell what the scope says."""
    await accept(scope, send)
    told = ("type", "scheme", "http_version", "path", "query_string", "root_path", "subprotocols", "asgi", "extensions")
    await say(send, json.dumps({name: scope[name] for name in told}, default=repr))
    ended(await receive())


async def fail(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    await accept(scope, send)
    raise RuntimeError("the application is broken")


async def late(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    """Hear nothing for a while, and then tell what was said meanwhile, until "end"."""
    await accept(scope, send)
    await asyncio.sleep(float(query["seconds"]))
    heard = []
    while (text := (await receive())["text"]) != "end":
        heard.append(text.strip("."))
    await say(send, json.dumps(heard))
    ended(await receive())


async def deaf(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    """Hear nothing, not even the end."""
    await accept(scope, send)
    note("deaf")
    await asyncio.sleep(600)


async def listen(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    """Pass on whatever is said to all."""
    await accept(scope, send)
    queue: asyncio.Queue[str] = asyncio.Queue()
    listeners.add(queue)
    sender = asyncio.create_task(pass_on(queue, send))
    while (message := await receive())["type"] == "websocket.receive":
        pass
    listeners.remove(queue)
    sender.cancel()
    await asyncio.wait([sender])
    ended(message)


async def pass_on(queue: asyncio.Queue[str], send: Send) -> None:
    with suppress(OSError):
        while True:
            await say(send, await queue.get())


async def speak(scope: Scope, query: Query, receive: Receive, send: Send) -> None:
    """Say something to all that listen."""
    await accept(scope, send)
    for number in range(int(query["count"])):
        text = f"{number:<{query['size']}}"
        for queue in listeners:
            queue.put_nowait(text)
    await say(send, str(len(listeners)))
    ended(await receive())


async def accept(scope: Scope, send: Send) -> None:
    subprotocol = "chat" if "chat" in scope["subprotocols"] else None
    await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": [(b"x-served-by", b"tests")]})


async def say(send: Send, text: str) -> None:
    await send({"type": "websocket.send", "text": text})


def ended(message: Message) -> None:
    assert message["type"] == "websocket.disconnect"
    note(f"disconnect {message['code']} {message['reason']!r}")


actions: dict[str, Action] = {
    f"/{action.__name__}": action for action in (echo, close, refuse, deny, witness, fail, late, deaf, listen, speak)
}
