"""The applications that are measured: where each is found, which path is asked for, what it answers."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Application:
    """An ASGI application, and the request that shows that it has started."""

    name: str
    target: str  # "module:attribute", importable from ROOT
    path: str
    body: bytes
    over_tls: bool = False  # whether servers speak TLS 1.3 with the certificate of `certificates`


_JSON_HELLO = b'{"message":"Hello, world!"}'

APPLICATIONS = {
    application.name: application
    for application in (
        Application("hello", "examples.hello:app", "/", b"Hello, world!"),
        Application("tls", "examples.hello:app", "/", b"Hello, world!", over_tls=True),
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
        # This application answers every path.
        Application("any-path", "benchmarks.lib.bodies_app:any_path", "/", b"Hello, world!"),
        # This application sends and takes bodies of a size that the path says.
        Application("bodies", "benchmarks.lib.bodies_app:app", "/", b"hello"),
    )
}

# A request without a query is answered at once, so that its start can be awaited.
SLEEPING = Application("sleeping", "benchmarks.lib.sleeping_app:app", "/", b"slept")

# The application that counts what is left of connections and requests, at /census.
CENSUS = Application("census", "benchmarks.lib.census_app:app", "/", b"hello")

# The application that echoes what comes over WebSockets, and sends a feed to all of them.
WEBSOCKET = Application("websocket", "benchmarks.lib.websocket_app:app", "/", b"echo")

# The application that reads what comes in tiny pieces, and says what CPU time that took.
PIECES = Application("pieces", "benchmarks.lib.pieces_app:app", "/", b"hello")

# The application that measures what messages to another machine take.
MACHINES = Application("machines", "benchmarks.lib.machines_app:app", "/", b"hello")

# The application whose workers measure what messages between them take.
MESSAGES = Application("messages", "benchmarks.lib.messages_app:app", "/", b"hello")
