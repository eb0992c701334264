"""A WSGI application (PEP 3333) that shows what becomes of its threads."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

ended: list[str] = []  # what has become of requests whose clients left
together = threading.Barrier(4)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer by path: see the functions."""
    answer = {"/endless": endless, "/upload": upload, "/together": meet, "/ended": tell, "/late": late}
    return answer[environ["PATH_INFO"]](environ, start_response)


def endless(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    """Send without an end."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    try:
        while True:
            yield b"x" * 65536
    finally:
        ended.append("endless")


def upload(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Tell how long the body is."""
    try:
        size = len(environ["wsgi.input"].read())
    except OSError as error:
        ended.append(f"upload: {error}")
        raise
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"%d" % size]


def meet(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer once four requests are here."""
    together.wait(60)
    print("met\n", end="", file=environ["wsgi.errors"], flush=True)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"met"]


def late(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer after a second."""
    print("late begins", file=environ["wsgi.errors"], flush=True)
    time.sleep(1)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"late"]


def tell(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Tell what has become of other requests."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [", ".join(ended).encode()]
