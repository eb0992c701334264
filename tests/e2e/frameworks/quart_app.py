from collections.abc import AsyncIterator
from typing import Any

from quart import Quart, Response, abort, jsonify, request, send_file, websocket

app = Quart(__name__)


@app.before_serving
async def start() -> None:
    app.config["STARTED"] = "yes"


@app.get("/hello")
async def hello() -> Response:
    return Response("hello", mimetype="text/plain")


@app.post("/echo")
async def echo() -> Response:
    return jsonify(await request.get_json())


@app.post("/form")
async def form() -> dict[str, Any]:
    fields, files = await request.form, await request.files
    return {"name": fields["name"], "size": len(files["file"].read())}


@app.get("/stream")
async def stream() -> Response:
    return Response(lines(), mimetype="text/plain")


async def lines() -> AsyncIterator[bytes]:
    for number in range(3):
        yield f"line {number}\n".encode()


@app.get("/file")
async def file() -> Response:
    return await send_file(request.args["path"])


@app.get("/path/<path:rest>")
async def path(rest: str) -> dict[str, str]:
    return {"rest": rest}


@app.get("/cookies")
async def cookies() -> Response:
    response = jsonify(dict(request.cookies))
    response.set_cookie("seen", "1")
    response.set_cookie("often", "2")
    return response


@app.get("/state")
async def state() -> dict[str, str]:
    return {"started": app.config["STARTED"]}


@app.websocket("/chat/<room>")
async def chat(room: str) -> None:
    if room == "closed":
        abort(403)
    await websocket.accept(subprotocol="chat")
    await websocket.send(f"welcome to {room}")
    while (data := await websocket.receive()) != "bye":
        await websocket.send(data)
    await websocket.close(3000, "bye")
