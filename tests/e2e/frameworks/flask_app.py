"""Flask behind asgiref's adapter, which keeps what belongs to a request in context variables."""

import time

from asgiref.wsgi import WsgiToAsgi
from flask import Flask, g, request

flask = Flask(__name__)


@flask.route("/<name>", methods=["GET", "POST"])
def tell(name: str) -> str:
    """Tell what this request knows of itself from three places, before and after others had their turn."""
    assert "name" not in g
    g.name = name
    size = len(request.get_data())
    time.sleep(0.001)  # in a thread
    return f"{name} {g.name} {request.args['name']} {size}"


app = WsgiToAsgi(flask)  # type: ignore[no-untyped-call]
