"""Programs of others that tests run, where they are installed."""

import os
import shutil
import subprocess

import pytest


def installed(name: str) -> str:
    """The path of a program; without it the test fails in continuous integration, and is skipped elsewhere."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which(name, path=path)
    missing = f"{name} is not installed: this test needs it (apt-get install {name})"
    if found is None and os.environ.get("CI"):
        pytest.fail(missing)
    if found is None:
        pytest.skip(missing)
    return found


def curl(*arguments: str) -> str:
    """What curl prints; fails where it does."""
    command = [installed("curl"), "--silent", "--show-error", *arguments]
    return subprocess.run(command, capture_output=True, timeout=15, check=True).stdout.decode()
