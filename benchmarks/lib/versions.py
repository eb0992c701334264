"""What was measured, on what: the versions and the machine that a figure means nothing without."""

import importlib
import os
import platform
import shutil
import sysconfig
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.lib.load import LoadTool, first_line

# gunicorn_h1c is gunicorn's optional C parser: with or without it, its figures are another server's.
_PACKAGES = (
    "uvicorn",
    "granian",
    "hypercorn",
    "gunicorn",
    "h2corn",
    "fastpysgi",
    "gunicorn_h1c",
    "uvloop",
    "httptools",
    "websockets",
    "wsproto",
)
# Options of CPython's configure script, and what they stand for.
_OPTIMISATIONS = (
    ("--enable-optimizations", "profile-guided optimisation"),
    ("--with-lto", "link-time optimisation"),
)
_FRAMEWORKS = ("fastapi", "starlette", "pydantic")


def describe(tools: Iterable[LoadTool]) -> dict[str, str]:
    """Name to version, for the machine, the servers, the frameworks and the load generators."""
    found = {
        "machine": f"{os.cpu_count()} CPUs, {_processor()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}, {build()}",
        "corehttp": _corehttp(),
    }
    found |= {package: _installed(package) for package in (*_PACKAGES, *_FRAMEWORKS)}
    for program, option in (("node", "--version"), ("pm2-runtime", "--version")):
        found[program] = first_line([program, option]) if shutil.which(program) else "not installed"
    return found | {tool.name: tool.version() for tool in tools}


def build() -> str:
    """How this interpreter was built: one that is not optimised costs servers in Python more, compiled ones nothing."""
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    names = [name for option, name in _OPTIMISATIONS if option in arguments]
    return f"built with {' and '.join(names)}" if names else "built without optimisation"


def load_average() -> str:
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def _corehttp() -> str:
    try:
        return str(importlib.import_module("corehttp").__version__)
    except (ImportError, AttributeError):
        return "not installed"


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()
