"""Applications whose code changes while they are served."""

from pathlib import Path

GOOD = """
import asyncio, os, time
VERSION = {version!r}

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        await send({{"type": "lifespan.shutdown.complete"}})
        return
    path, query = scope["path"], scope["query_string"].decode()
    if path == "/slow":
        await asyncio.sleep(float(query.partition("=")[2]))
    elif path == "/exit":
        os._exit(7)
    elif path == "/block":
        time.sleep(float(query))
    body = VERSION.encode() if path != "/pid" else str(os.getpid()).encode()
    fields = [(b"content-length", b"%d" % len(body))]
    await send({{"type": "http.response.start", "status": 200, "headers": fields}})
    await send({{"type": "http.response.body", "body": body}})
"""

BROKEN = "import no_such_module\n"

FAILING = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "the database is away"})
"""


class ChangingApp:
    """A module that the server loads from a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._file = directory / "changing_app.py"
        self._changes = 0
        self.arguments = ("changing_app:app", "--app-dir", str(directory), "--port", "0", "--no-access-log")

    def become(self, version: str, before: str = "") -> None:
        """Write an application that answers with its version; the code in `before` runs when the module is loaded."""
        self._write(before + GOOD.format(version=version))

    def become_slow(self, version: str, seconds: float = 100) -> None:
        """Write the application of `become` so that loading it takes the seconds."""
        self.become(version, before=f"import time; time.sleep({seconds})\n")

    def become_broken(self) -> None:
        """Write a module that cannot be imported."""
        self._write(BROKEN)

    def become_failing(self) -> None:
        """Write an application whose lifespan start-up fails."""
        self._write(FAILING)

    def _write(self, text: str) -> None:
        """Write the module, longer each time: compiled code stays valid for a source of the same size and second."""
        self._changes += 1
        self._file.write_text(text + "#" * self._changes + "\n")
