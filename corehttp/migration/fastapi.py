"""The flags of the commands `fastapi run` and `fastapi dev`, and which application is meant by their path. Pure.

They are commands of uvicorn's server with other defaults. Files are read by what the caller passes.
"""

import posixpath
import re
from collections.abc import Callable
from typing import NamedTuple

from corehttp.migration.flags import Flag, MigrationError, needless, switch, value

HOSTS = {"run": "0.0.0.0", "dev": "127.0.0.1"}  # where each listens by default
# The files that are looked for, in this order, if no path is given.
_PATHS = ("main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py")
_PACKAGE = "__init__.py"
# The names of an application in a file: `app` and `api` come before any other that is made by a call of FastAPI.
_NAMES = (
    re.compile(r"^(app)\b[^=\n]*=(?!=)", re.MULTILINE).search,
    re.compile(r"^(api)\b[^=\n]*=(?!=)", re.MULTILINE).search,
    re.compile(r"^(\w+)\b[^=\n]*=\s*(?:fastapi\.)?FastAPI\(", re.MULTILINE).search,
)

FLAGS: tuple[Flag, ...] = (
    value("--host"),
    value("--port"),
    switch("--reload", "--no-reload"),
    value("--reload-dir"),
    value("--workers"),
    value("--root-path"),
    value("--app", setting="app"),
    value("--entrypoint", "-e", setting="entrypoint"),
    switch("--proxy-headers", "--no-proxy-headers"),
    value("--forwarded-allow-ips"),
    switch("--verbose", "-v", convert=needless),
    switch("--help", "-h"),
)


class Found(NamedTuple):
    """The application that a path means."""

    name: str  # MODULE:ATTRIBUTE
    directory: str  # from which it is imported; empty: the one in which the command starts


def application(path: str, attribute: str, read_file: Callable[[str], str | None]) -> Found:
    """Return the application in the file or package at `path`, by default the first file that fastapi looks for.

    It is named after the top package, as fastapi imports it. A file that cannot be read is taken for one of a package.
    `attribute` is its name in the module; empty: the one that the file shows, else `app`. Raises MigrationError for a
    path that names no file, such as a dot.
    """
    path = posixpath.normpath(path or next((known for known in _PATHS if read_file(known) is not None), _PATHS[0]))
    path = path.removesuffix(f"/{_PACKAGE}")
    if not path.strip("./"):
        raise MigrationError(f"{path}: name the file of the application, as in `fastapi run main.py`")
    text = read_file(path if path.endswith(".py") else posixpath.join(path, _PACKAGE))
    directory, module = posixpath.split(path.removesuffix(".py"))
    while directory not in ("", "/", ".", "..") and _is_package(directory, text, read_file):
        directory, parent = posixpath.split(directory)
        module = f"{parent}.{module}"
    return Found(f"{module}:{attribute or _attribute(text or '')}", directory)


def _is_package(directory: str, text: str | None, read_file: Callable[[str], str | None]) -> bool:
    """Whether a directory is a package; one of a file that cannot be read (`text` is None) is, if it is relative."""
    if text is None:
        return directory[0] != "/"
    return read_file(posixpath.join(directory, _PACKAGE)) is not None


def _attribute(text: str) -> str:
    """Return the name of the application in the text of a module."""
    found = next(filter(None, (search(text) for search in _NAMES)), None)
    return found[1] if found is not None else "app"
