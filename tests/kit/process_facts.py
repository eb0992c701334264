"""What the kernel says of a process: whether it runs, and which sockets it holds."""

import os
import re
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.kit.server_process import until


def sockets(pid: int) -> set[str]:
    """The inodes of the sockets that a process holds."""
    names = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return {match[1] for name in names if (match := re.fullmatch(r"socket:\[(\d+)\]", name))}


def of_port(port: int) -> set[str]:
    """The inodes of the sockets that are bound to a port, listening or connected (proc(5), /proc/net/tcp)."""
    # Thousands of connections that have ended may stand there as well, so only lines with the port are taken apart.
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if f":{port:04X} " in line]
    return {row[9] for row in rows if row[1].endswith(f":{port:04X}")}


def until_gone(pid: int) -> None:
    """Until it has ended, though it may not have been waited for."""

    def look() -> bool:
        try:
            return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True

    until(look, f"the end of {pid}")
