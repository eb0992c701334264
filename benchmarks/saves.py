"""How long after a save the new code answers, with --reload, beside uvicorn: `python -m benchmarks.saves`.

Both servers run at once, each in a directory of its own, and files are saved in one or the other in random order. A
save is answered when a request has an answer of the new code; one that has none at all has failed.
"""

import argparse
import contextlib
import http.client
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.lib.applications import ROOT
from benchmarks.lib.running_server import free_port
from benchmarks.lib.versions import build, load_average

PEERS = ("corehttp", "uvicorn")
PATIENCE = 60.0  # seconds
APPLICATION = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({{"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"{size}")]}})
        await send({{"type": "http.response.body", "body": b"{version}"}})
"""


@dataclass(slots=True)
class Developed:
    """A server that watches its application."""

    name: str
    directory: Path
    port: int
    seconds: list[float] = field(default_factory=list)  # from each save to the answer of the new code
    failed: int = 0  # requests without an answer

    def save(self, version: str) -> None:
        """Write the application anew; its size changes, or compiled code of the same second would count."""
        text = APPLICATION.format(version=version, size=len(version))
        (self.directory / "main.py").write_text(text + "#" * random.randrange(1000) + "\n")

    def wait_for(self, version: str) -> float:
        """Ask until the version answers, and return for how many seconds; TimeoutError if it never does."""
        began = time.monotonic()
        while self.answer() != version:
            if time.monotonic() - began > PATIENCE:
                raise TimeoutError(f"{self.name} does not serve what was saved")
        return time.monotonic() - began

    def answer(self) -> str:
        """Ask once; the empty string if there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", "/")
            return connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            self.failed += 1
            return ""
        finally:
            connection.close()


@contextlib.contextmanager
def developed(name: str, directory: Path) -> Iterator[Developed]:
    """Start a server that watches its application; it has served once when this yields."""
    server = Developed(name, directory, free_port())
    directory.mkdir()
    server.save("0")
    command = [sys.executable, "-m", name, "main:app", "--reload", "--port", str(server.port)]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=log, env={"PYTHONPATH": str(ROOT)})
    try:
        server.wait_for("0")
        server.failed = 0
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.saves", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="saves for each server (default: 20)")
    rounds = parser.parse_args(arguments).rounds
    with TemporaryDirectory(prefix="corehttp-bench-") as folder, contextlib.ExitStack() as stack:
        servers = [stack.enter_context(developed(name, Path(folder, name))) for name in PEERS]
        time.sleep(2)  # until both watch
        for number in range(1, rounds + 1):
            for server in random.sample(servers, len(servers)):
                time.sleep(random.uniform(0.6, 0.9))
                server.save(str(number))
                server.seconds.append(server.wait_for(str(number)))
    print(f"{rounds} saves for each; {sys.version.split()[0]}, {build()}; load {load_average()}")
    for server in servers:
        least, most = min(server.seconds) * 1e3, max(server.seconds) * 1e3
        middle = median(server.seconds) * 1e3
        print(
            f"{server.name:9} {middle:5.0f} ms ({least:.0f} to {most:.0f}), {server.failed} requests without an answer"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
