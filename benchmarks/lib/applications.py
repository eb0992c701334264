"""The applications that are measured: where each is found, which path is asked for, what it answers."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Application:
    name: str
    target: str  # "module:attribute", importable from ROOT
    path: str
    body: bytes


_JSON_HELLO = b'{"message":"Hello, world!"}'

APPLICATIONS = {
    application.name: application
    for application in (
        Application("hello", "examples.hello:app", "/", b"Hello, world!"),
        Application(
            "read-content",
            "examples.read_content:app",
            "/read-content",
            (ROOT / "examples" / "content.txt").read_bytes(),
        ),
        Application(
            "read-in-thread",
            "examples.read_content:in_thread",
            "/read-content",
            (ROOT / "examples" / "content.txt").read_bytes(),
        ),
        Application("fastapi", "examples.fastapi_app:app", "/", _JSON_HELLO),
        Application("starlette", "examples.starlette_app:app", "/", _JSON_HELLO),
        # It answers every path.
        Application("any-path", "benchmarks.lib.bodies_app:any_path", "/", b"Hello, world!"),
        # What it sends and takes has a size: see its paths.
        Application("bodies", "benchmarks.lib.bodies_app:app", "/", b"hello"),
    )
}

# Without a query it does not sleep: this is how its start is awaited.
SLEEPING = Application("sleeping", "benchmarks.lib.sleeping_app:app", "/", b"slept")

# Asked for /census it counts what is left of connections and requests.
CENSUS = Application("census", "benchmarks.lib.census_app:app", "/", b"hello")

# It echoes WebSockets, and sends a feed to all of them.
WEBSOCKET = Application("websocket", "benchmarks.lib.websocket_app:app", "/", b"echo")

# It reads what comes in tiny pieces, and tells what that took.
PIECES = Application("pieces", "benchmarks.lib.pieces_app:app", "/", b"hello")
