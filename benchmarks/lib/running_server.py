"""One server as a child process: started on its CPUs, awaited, stopped whole, its output kept."""

import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.lib.applications import ROOT, Application
from benchmarks.lib.placement import pinned
from benchmarks.lib.process_tree import Process, is_alive, tree
from benchmarks.lib.servers import LOG_SUFFIX, Launch, peer_of

READY_SECONDS = 30.0
STOP_SECONDS = 10.0
_TAIL_LINES = 20


class StartError(Exception):
    """The server exited or did not answer in time; the text holds the tail of its output."""


class RunningServer:
    """A started server. Whoever makes one calls `stop_all` on it, whatever happens in between."""

    def __init__(
        self,
        name: str,
        launch: Launch,
        cpus: frozenset[int],
        output: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.application = launch.application
        self.port = launch.port
        self.output = output
        # A regular file takes both streams, so that an access log costs what a real write costs.
        with output.open("ab") as sink, pinned(cpus):
            self.process = subprocess.Popen(
                peer_of(name).command(launch),
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.application.path}"

    def wait_until_ready(self) -> None:
        """Returns when the application's answer arrives; raises StartError."""
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self.process.poll() is not None:
                raise StartError(f"{self.name} exited with {self.process.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise StartError(f"{self.name} did not answer within {READY_SECONDS:.0f} s:\n{self.tail()}")
            time.sleep(0.02)

    def warm_up(self, seconds: float) -> None:
        """Requests one after the other on one connection, so that what is compiled on first use is not measured.

        Raises StartError.
        """
        deadline = time.monotonic() + seconds
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            while time.monotonic() < deadline:
                connection.request("GET", self.application.path)
                connection.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            raise StartError(f"{self.name} failed while it was warmed up: {error!r}\n{self.tail()}") from error
        finally:
            connection.close()

    def tail(self) -> str:
        lines = self.output.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join(f"    | {line}" for line in lines) or "    | (no output)"

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", self.application.path)
            response = connection.getresponse()
            return response.status == 200 and response.read() == self.application.body
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@contextmanager
def running(
    names: Sequence[str], application: Application, workers: int, cpus: frozenset[int], keep_alive: int | None = None
) -> Iterator[list[RunningServer]]:
    """The servers called `names`, started side by side; not yet awaited."""
    servers: list[RunningServer] = []
    with TemporaryDirectory(prefix="corehttp-bench-") as folder:
        try:
            for name in names:
                launch = Launch(application, free_port(), workers, name.endswith(LOG_SUFFIX), keep_alive)
                servers.append(RunningServer(name, launch, cpus, Path(folder, name)))
            yield servers
        finally:
            stop_all(servers)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def stop_all(servers: Iterable[RunningServer]) -> None:
    """SIGTERM to each main process; SIGKILL to whoever of its tree is left after STOP_SECONDS."""
    families = [(server, tree(server.pid)) for server in servers]
    for server, _ in families:
        server.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for server, family in families:
        _wait(server.process, deadline)
        for process in {*family, *tree(server.pid)}:
            _kill(process)
        server.process.wait()


def _wait(process: subprocess.Popen[bytes], deadline: float) -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(max(0.0, deadline - time.monotonic()))


def _kill(process: Process) -> None:
    if is_alive(process):  # its pid is not yet another's
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
