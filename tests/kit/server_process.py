"""The command under test: start it, wait for what it says, look at its processes, end it by its process id."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import psutil  # type: ignore[import-untyped]

import corehttp

ROOT = Path(__file__).parents[2]  # from where `examples` and `tests` can be imported
HERE = ROOT / "tests" / "e2e"  # the applications that are served
PACKAGE = Path(corehttp.__file__).parents[1]
APP = ("application:app", "--app-dir", str(HERE), "--port", "0")
PATIENCE = 60.0  # seconds: much more than anything here takes on a busy machine, so that only a hang reaches it

T = TypeVar("T")

_READY = re.compile(r"""(?:ready in \d+ ms|ready without a supervisor): ([^\s",]+)""")


def until(look: Callable[[], T | None], what: str, seconds: float = PATIENCE) -> T:
    """Call `look` until its answer is true, and return that answer; fail after `seconds`, naming `what` was awaited."""
    deadline = time.monotonic() + seconds
    while not (answer := look()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.01)
    return answer


def url_in(log: Path) -> str:
    """Wait until a log file says that the service is ready, and return its address."""
    found = until(lambda: _READY.search(log.read_text()) if log.exists() else None, "the line of the start")
    return found[1]


class ServerProcess:
    """A running `python -m corehttp`, in a session of its own, with its output in files."""

    def __init__(
        self,
        arguments: Sequence[str],
        directory: Path,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        program: Sequence[str] = ("-m", "corehttp"),
        directory_of_process: Path | None = None,
        python: str = sys.executable,
    ) -> None:
        ours = ("COREHTTP_", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS")
        own = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        own["PYTHONPATH"] = os.pathsep.join(filter(None, (str(PACKAGE), str(ROOT), os.environ.get("PYTHONPATH"))))
        number = len(list(directory.glob("*.stderr")))
        self._stdout = directory / f"{number}.stdout"
        self._stderr = directory / f"{number}.stderr"
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                [python, *program, *arguments],
                cwd=directory_of_process or directory,
                env={**own, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                pass_fds=pass_fds,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.url = ""

    @property
    def stdout(self) -> str:
        return self._stdout.read_text()

    @property
    def stderr(self) -> str:
        return self._stderr.read_text()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def uds(self) -> str:
        return self.url.removeprefix("unix:")

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Wait until all workers serve; fail with the log if the command ends instead."""
        self.url = self.wait_for_log(_READY).group(1)

    def wait_for_log(self, pattern: str | re.Pattern[str], count: int = 1) -> re.Match[str]:
        """Wait for the `count`th match of the pattern on standard error; fail if the command ends first."""

        def look() -> re.Match[str] | None:
            ended = not self.running
            found = list(re.finditer(pattern, self.stderr))
            if len(found) >= count:
                return found[count - 1]
            assert not ended, f"ended with code {self._process.returncode}:\n{self.stderr}"
            return None

        return until(look, f"{pattern!r} in the log")

    def worker_pids(self) -> list[int]:
        """The process ids of the supervisor's children; an empty list once the supervisor has ended."""
        try:
            return [child.pid for child in psutil.Process(self.pid).children()]
        except psutil.NoSuchProcess:
            return []

    def processes(self) -> list[int]:
        """The ids of all processes of this server's session that have not ended, whoever their parents are."""
        found = []
        for pid in psutil.pids():
            with contextlib.suppress(OSError, psutil.NoSuchProcess):
                if os.getsid(pid) == self.pid and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    found.append(pid)
        return found

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Wait for the end of the command and return its exit code, negative for a signal; fail after `seconds`."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {seconds:g} s:\n{self.stderr}") from None

    def stop(self, seconds: float = PATIENCE) -> int:
        """Send SIGTERM, wait for the end of the command and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def check_nothing_is_left(self) -> None:
        """Assert that the ended server has left no process, no open port and no path of a unix socket.

        The address is forgotten then, so that another server may take it.
        """
        until(lambda: not self.processes(), "the end of all processes")
        if self.url.startswith("unix:"):
            assert not os.path.exists(self.uds)
        elif self.url:
            assert refused(self.port)
        self.url = ""

    def end(self) -> None:
        """Kill every process of the server that has not ended, each by its id."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(PATIENCE)


def refused(port: int) -> bool:
    """Whether the kernel refuses a connection to the port, because nobody listens."""
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


@contextlib.contextmanager
def servers_of_a_test() -> Iterator[list[ServerProcess]]:
    """A list for the servers that a test starts: those that have ended have left nothing, and the others are ended."""
    servers: list[ServerProcess] = []
    try:
        yield servers
        for server in servers:
            if not server.running:
                server.check_nothing_is_left()
    finally:
        for server in servers:
            server.end()
