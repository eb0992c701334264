"""A Flask application through both of the usual adapters: it answers with what its context says of the request."""

import time

from a2wsgi import WSGIMiddleware
from asgiref.wsgi import WsgiToAsgi
from flask import Flask, Response, g, request

flask = Flask(__name__)


def echo(name: str) -> Response:
    """The name from the path, from the query and from the context, which a mixed-up context would tell apart."""
    g.name = name
    time.sleep(0.01)
    return Response(f"{name} {request.args['name']} {g.name} {len(request.get_data())}")


flask.add_url_rule("/echo/<name>", view_func=echo, methods=["GET", "POST"])

through_asgiref = WsgiToAsgi(flask)  # type: ignore[no-untyped-call]
through_a2wsgi = WSGIMiddleware(flask)  # type: ignore[arg-type]
