"""The verbs of the command as an operator uses them, and raw clients of the control socket."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.kit.server_process import PATIENCE, ROOT

NOBODY = 65534  # the user and the group that own nothing

# What another user's command does: that user may not be able to read this one's Python, so all is imported before.
_AS_ANOTHER = """
import os, sys
from click.testing import CliRunner
import corehttp.control.log_view
from corehttp.control.verbs import verbs
CliRunner().invoke(verbs, ["status", "--socket", "/nowhere", "--json"])
os.setgroups([])
os.setgid({group})
os.setuid({user})
verbs.main(sys.argv[1:], prog_name="corehttp")
"""


def verb(
    runtime: Path, *words: str, user: int | None = None, group: int = NOBODY
) -> "subprocess.CompletedProcess[str]":
    """Run a verb of the command to its end, in an environment whose services are in the directory `runtime`."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("COREHTTP_", "RUNTIME_DIRECTORY"))}
    own |= {"XDG_RUNTIME_DIR": str(runtime), "TMPDIR": str(runtime), "PYTHONPATH": str(ROOT)}
    program: Sequence[str] = ("-m", "corehttp")
    if user is not None:
        program = ("-c", _AS_ANOTHER.format(user=user, group=group))
    return subprocess.run(
        [sys.executable, *program, *words], env=own, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def done(run: "subprocess.CompletedProcess[str]") -> str:
    """What a verb has printed; fails with what it says if it has not ended with 0."""
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def told(runtime: Path, *words: str) -> dict[str, Any]:
    """The JSON that a verb prints, once it has ended with 0."""
    content = json.loads(done(verb(runtime, *words, "--json")))
    assert content.pop("schema") == 1
    assert isinstance(content, dict)
    return content


class RawOperator:
    """A client of a control socket that sends whatever bytes it is given."""

    def __init__(self, path: str) -> None:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(PATIENCE)
        self._sock.connect(path)

    def __enter__(self) -> "RawOperator":
        return self

    def __exit__(self, *raised: object) -> None:
        self._sock.close()

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def end_side(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    def answer(self) -> list[dict[str, Any]]:
        """All lines until the service ends the connection."""
        received = bytearray()
        try:
            while data := self._sock.recv(65536):
                received += data
        except ConnectionError:
            pass  # the service did not read all that was sent
        return [json.loads(line) for line in received.splitlines()]


def environment(runtime: Path) -> Mapping[str, str]:
    """The environment of a service whose control socket is in the directory `runtime`."""
    return {"XDG_RUNTIME_DIR": str(runtime), "TMPDIR": str(runtime)}
