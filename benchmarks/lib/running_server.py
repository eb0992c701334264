"""One server as a child process: started on its CPUs, awaited, stopped whole, its output kept."""

import http.client
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.lib.applications import ROOT, Application
from benchmarks.lib.certificates import make_certificate
from benchmarks.lib.placement import pinned
from benchmarks.lib.process_tree import Process, cpu_nanoseconds, is_alive, tree
from benchmarks.lib.servers import LOG_SUFFIX, Launch, peer_of

READY_SECONDS = 30.0
STOP_SECONDS = 10.0
_TAIL_LINES = 20


class StartError(Exception):
    """The server exited or did not answer in time; the text holds the tail of its output."""


class RunningServer:
    """A started server, which has to be given to `stop_all` in the end."""

    def __init__(
        self,
        name: str,
        launch: Launch,
        cpus: frozenset[int],
        output: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.command = peer_of(name).command(launch)
        self.application = launch.application
        self.port = launch.port
        self.output = output
        # A regular file takes both streams, so that an access log costs what a real write costs.
        with output.open("ab") as sink, pinned(cpus):
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env=_environment(environment or {}),
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
        scheme = "https" if self.application.over_tls else "http"
        return f"{scheme}://127.0.0.1:{self.port}{self.application.path}"

    def wait_until_ready(self, every: float = 0.02) -> None:
        """Ask every so many seconds until the application's answer arrives.

        Raises StartError if the server ends, or if there is no answer within READY_SECONDS.
        """
        deadline = time.monotonic() + READY_SECONDS
        while not self._answers():
            if self.process.poll() is not None:
                raise StartError(f"{self.name} exited with {self.process.returncode}:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise StartError(f"{self.name} did not answer within {READY_SECONDS:.0f} s:\n{self.tail()}")
            time.sleep(every)

    def warm_up(self, seconds: float) -> None:
        """Send requests one after the other on one connection for some seconds; raises StartError if one fails."""
        deadline = time.monotonic() + seconds
        connection = self._connection()
        try:
            while time.monotonic() < deadline:
                connection.request("GET", self.application.path)
                connection.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            raise StartError(f"{self.name} failed while it was warmed up: {error!r}\n{self.tail()}") from error
        finally:
            connection.close()

    def idle_cpus(self, seconds: float) -> float:
        """Return how many CPUs the server keeps busy over so many seconds in which nobody asks it anything."""
        before = cpu_nanoseconds(self.pid)
        time.sleep(seconds)
        return (cpu_nanoseconds(self.pid) - before) / (seconds * 1e9)

    def pause(self) -> None:
        """Stop all processes of the server (SIGSTOP) until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let all processes of the server run on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for process in tree(self.pid):
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def tail(self) -> str:
        """Return the last lines of the server's output."""
        lines = self.output.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join(f"    | {line}" for line in lines) or "    | (no output)"

    def _connection(self) -> http.client.HTTPConnection:
        if not self.application.over_tls:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        context = ssl._create_unverified_context()  # nobody has issued the certificate
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=5, context=context)

    def _answers(self) -> bool:
        connection = self._connection()
        try:
            connection.request("GET", self.application.path)
            response = connection.getresponse()
            return response.status == 200 and response.read() == self.application.body
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _environment(additions: Mapping[str, str]) -> dict[str, str]:
    # With this variable a package that is run from a checkout is compiled anew at each start, installed ones are not.
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return own | dict(additions)


@contextmanager
def running(
    names: Sequence[str], application: Application, workers: int, cpus: frozenset[int], keep_alive: int | None = None
) -> Iterator[list[RunningServer]]:
    """Start the servers called `names` side by side, without waiting for them, and stop them at the end."""
    servers: list[RunningServer] = []
    with TemporaryDirectory(prefix="corehttp-bench-") as folder:
        try:
            if application.over_tls:
                make_certificate(folder)
            for name in names:
                launch = Launch(application, free_port(), workers, name.endswith(LOG_SUFFIX), keep_alive, folder)
                servers.append(RunningServer(name, launch, cpus, Path(folder, name)))
            yield servers
        finally:
            stop_all(servers)


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def stop_all(servers: Iterable[RunningServer]) -> None:
    """Send SIGTERM to each main process, and SIGKILL to what is left of its tree after STOP_SECONDS."""
    families = [(server, tree(server.pid)) for server in servers]
    for server, _ in families:
        server.process.send_signal(signal.SIGTERM)
        server.resume()  # a paused server would not end
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
    if is_alive(process):  # otherwise its pid may belong to another process
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
