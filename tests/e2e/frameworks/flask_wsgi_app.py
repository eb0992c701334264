"""Flask as it is, a WSGI application."""

from collections.abc import Iterator

from flask import Flask, Response, jsonify, make_response, request, send_file
from flask.typing import ResponseReturnValue

app = Flask(__name__)


@app.get("/hello")
def hello() -> ResponseReturnValue:
    return Response("hello", content_type="text/plain")


@app.post("/echo")
def echo() -> ResponseReturnValue:
    return jsonify(request.get_json())


@app.post("/form")
def form() -> ResponseReturnValue:
    return jsonify(name=request.form["name"], size=len(request.files["file"].read()))


@app.get("/stream")
def stream() -> ResponseReturnValue:
    return Response(lines(), content_type="text/plain")


def lines() -> Iterator[str]:
    for number in range(3):
        yield f"line {number}\n"


@app.get("/file")
def file() -> ResponseReturnValue:
    return send_file(request.args["path"])


@app.get("/path/<path:rest>")
def path(rest: str) -> ResponseReturnValue:
    return jsonify(rest=rest)


@app.get("/cookies")
def cookies() -> ResponseReturnValue:
    response = make_response(jsonify(dict(request.cookies)))
    response.set_cookie("seen", "1")
    response.set_cookie("often", "2")
    return response
