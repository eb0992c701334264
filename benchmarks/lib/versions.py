"""What was measured, and on what: the versions and the machine that figures belong to."""

import importlib
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.lib.applications import ROOT
from benchmarks.lib.load import LoadTool, first_line

# gunicorn_h1c is gunicorn's optional C parser, which makes another server of it.
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
# Debian and Ubuntu optimise in their own build rules and keep the flags out of sysconfig (changelog of python3.8).
_DEBIAN_BUILD = "the distribution's package, built with profile-guided and link-time optimisation"
_PLAIN_BUILD = "built without optimisation"
_FRAMEWORKS = ("fastapi", "starlette", "pydantic")


def describe(tools: Iterable[LoadTool]) -> dict[str, str]:
    """Return the versions of the machine, the servers, the frameworks and the load generators, by their names."""
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
    """Say how this interpreter was built, since one without optimisation slows servers in Python, and no others."""
    if sys.base_prefix == "/usr" and Path("/etc/debian_version").exists():
        return _DEBIAN_BUILD
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    names = [name for option, name in _OPTIMISATIONS if option in arguments]
    return f"built with {' and '.join(names)}" if names else _PLAIN_BUILD


def load_average() -> str:
    """Return how many processes wanted a CPU in the last 1, 5 and 15 minutes."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg())


def build_name() -> str:
    """Return a short name of this interpreter, for files with figures that were taken on it."""
    major, minor, _ = platform.python_version_tuple()
    kind = "unoptimised" if build() == _PLAIN_BUILD else "optimised"
    return f"{platform.python_implementation().lower()}-{major}.{minor}-{kind}"


def _corehttp() -> str:
    try:
        found = str(importlib.import_module("corehttp").__version__)
    except (ImportError, AttributeError):
        return "not installed"
    commit = _git("rev-parse", "--short=12", "HEAD")
    if commit is None:
        return found
    return f"{found}, commit {commit}{' and changes' if _git('status', '--porcelain', '--', 'corehttp') else ''}"


def _git(*arguments: str) -> str | None:
    """Return what git says of this checkout, or None where there is no git or no checkout."""
    git = shutil.which("git")
    if git is None:
        return None
    done = subprocess.run([git, "-C", str(ROOT), *arguments], check=False, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


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
