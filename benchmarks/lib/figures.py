"""Figures that an application measures itself: asked over HTTP, and printed in a line."""

import http.client
import json
from collections.abc import Mapping
from typing import Any


def ask(port: int, path: str, seconds: float) -> dict[str, Any]:
    """Return the JSON that the server at `port` answers; a measurement must end within so many seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    connection.request("GET", path)
    found: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return found


def show(what: str, figures: Mapping[str, float]) -> None:
    """Print what was measured with its figures."""
    print(f"{what}: " + ", ".join(f"{name} {number:,.6g}" for name, number in figures.items()), flush=True)
