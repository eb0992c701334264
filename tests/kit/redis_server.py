"""A real Redis for a test: started, killed, stopped by a signal, started again on its port, ended with the test."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from tests.kit.ports import free_port
from tests.kit.programs import installed
from tests.kit.server_process import PATIENCE, until

ATTEMPTS = 5  # a port that is free may be taken by another process before Redis has it


class RedisServer:
    """A Redis that keeps nothing on disk, on a port of 127.0.0.1 that stays the same when it is started again.

    It starts at once, with these options; `end` ends it and removes its directory. "+1" in them stands for the port
    after its own.
    """

    def __init__(self, *options: str) -> None:
        self._program = installed("redis-server")
        self._options = options
        self.directory = Path(tempfile.mkdtemp(prefix="corehttp-redis-", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None
        for _ in range(ATTEMPTS):
            self.port = free_port()
            if self._starts():
                return
        said = (self.directory / "log").read_text()
        self.end()
        raise AssertionError(f"redis-server does not start:\n{said}")

    @property
    def url(self) -> str:
        """The address, as clients take it."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process id of the Redis that runs, or of the last one."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start Redis again on its port, empty, after `kill`; wait until it answers."""
        assert self._starts(), "redis-server does not start again"

    def kill(self) -> None:
        """Kill Redis (SIGKILL), and wait for its end. One that has ended is left alone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)

    def pause(self) -> None:
        """Stop Redis by a signal (SIGSTOP): connections stay, nothing is answered, until `resume` or `kill`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let Redis run on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        """Kill Redis, and remove its directory."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _starts(self) -> bool:
        """Start Redis on `port`; false if it has ended instead of answering."""
        command = [self._program, "--bind", "127.0.0.1", "--port", str(self.port)]
        command += [str(self.port + 1) if option == "+1" else option for option in self._options]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self.directory)]
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._process = process
        until(lambda: process.poll() is not None or self._answers(), "redis-server")
        return process.poll() is None

    def _answers(self) -> bool:
        """Whether a PING is answered."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as client:
            client.sendall(b"PING\r\n")
            return client.recv(16) == b"+PONG\r\n"
        return False
