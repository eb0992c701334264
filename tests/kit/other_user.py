"""What another user of the machine needs to run the server: a Python, the packages and an application it may read.

The Python that runs the tests may be below a home directory that only its owner may enter. Then everything is linked,
or copied, into a directory that every user may read.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import stat
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from corehttp.errors import ConfigError, StartupError
from corehttp.records import record

NOBODY = 65534  # the user and the group that own nothing
NAMELESS = 12345  # a user and a group of which no file of the system has a name

_PACKAGES = ("corehttp", "uvloop", "httptools", "h11", "click")
_APPLICATION = """
import os
import random

async def app(scope, receive, send):
    if scope["type"] != "http":
        raise ValueError("only HTTP")
    told = f"{os.getuid()} {os.getpid()} {os.environ.get('HOME', '')} {os.getcwd()}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(told))]})
    await send({"type": "http.response.body", "body": told})
"""
_LEFT_OUT = shutil.ignore_patterns("test", "site-packages", "idlelib", "tkinter", "config-*", "ensurepip", "lib2to3")


@record
class ForOthers:
    """A directory that every user may read, with all that the command needs there."""

    directory: Path  # it has the application `main:app`
    python: str
    variables: dict[str, str]  # for the environment of the command

    def own_directory(self, user: int) -> Path:
        """Return a new directory that belongs to the user."""
        path = Path(tempfile.mkdtemp(dir=self.directory))
        path.chmod(0o755)
        os.chown(path, user, -1)
        return path


@contextlib.contextmanager
def for_others() -> Iterator[ForOthers]:
    """Yield such a directory, and remove it at the end."""
    with tempfile.TemporaryDirectory(prefix="corehttp-others-", dir="/tmp") as name:
        directory = Path(name)
        directory.chmod(0o755)
        packages = directory / "packages"
        for package in _PACKAGES:
            spec = importlib.util.find_spec(package)
            assert spec is not None
            assert spec.origin is not None
            shutil.copytree(Path(spec.origin).parent, packages / package, copy_function=_link)
        (directory / "main.py").write_text(_APPLICATION)
        python = Path(sys.executable).resolve()
        if not _all_may_enter(python.parent):
            python = _copy_python(python, directory / "python")
        # A shared library of Python is searched for there, too, since its own place may be closed to others.
        library = str(python.parent.parent / "lib")
        yield ForOthers(directory, str(python), {"PYTHONPATH": str(packages), "LD_LIBRARY_PATH": library})


def ids(pid: int) -> dict[str, list[int]]:
    """The ids that a process has: `Uid` and `Gid` (real, effective, saved, of files) and `Groups` (proc(5))."""
    lines = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: [int(word) for word in rest.split()] for name, _, rest in lines if name in ("Uid", "Gid", "Groups")}


def _copy_python(python: Path, target: Path) -> Path:
    """Copy an interpreter and its library, without what the server does not need, and return the copy's path."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(library, target / "lib" / version, ignore=_LEFT_OUT, copy_function=_link)
    for shared in python.parent.parent.glob("lib/libpython*.so*"):
        _link(str(shared), str(target / "lib" / shared.name))
    (target / "bin").mkdir()
    _link(str(python), str(target / "bin" / version))
    return target / "bin" / version


def _all_may_enter(directory: Path) -> bool:
    """Whether every user may enter a directory and all those above it."""
    return all(path.stat().st_mode & stat.S_IXOTH for path in (directory, *directory.parents))


def _link(source: str, target: str) -> None:
    """Link a file that every user may read; copy one that is on another file system, or closed to others."""
    if os.stat(source).st_mode & stat.S_IROTH:
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copy(source, target)
    os.chmod(target, os.stat(target).st_mode | stat.S_IROTH | (stat.S_IXOTH if os.access(target, os.X_OK) else 0))


def in_child(call: Callable[[], object]) -> Any:
    """Return what `call` returns in a process of its own, whose user it may change; raise what it raises there."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        outcome: tuple[str, object] = ("AssertionError", "no outcome")
        try:
            outcome = ("", call())
        except BaseException as error:
            outcome = (type(error).__name__, str(error))
        finally:
            os.write(writer, json.dumps(outcome).encode())
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        raised, told = json.loads(file.read())
    os.waitpid(pid, 0)
    if raised:
        raise {"ConfigError": ConfigError, "StartupError": StartupError}.get(raised, AssertionError)(told)
    return told
