"""What is said where another project's package has the import name of this one."""

import subprocess
import sys
from pathlib import Path

import pytest

from corehttp.errors import StartupError
from corehttp.installation import check_installation, judge
from corehttp.version import __version__

PACKAGE = Path("/site-packages/corehttp")
OURS = ["corehttp", "corehttp_server.py", f"corehttp_server-{__version__}.dist-info", "httptools-0.6.4.dist-info"]


def test_the_package_that_is_tested_is_whole() -> None:
    assert check_installation() == ""


@pytest.mark.parametrize("beside", [[], OURS, [*OURS, "corehttp_client-1.0.dist-info", "corehttp-notes.txt"]])
def test_a_package_without_the_other_one_is_in_order(beside: list[str]) -> None:
    assert judge(__version__, beside, PACKAGE) == ""


@pytest.mark.parametrize("metadata", ["corehttp-1.0.0b7.dist-info", "corehttp-2.dist-info", "CoreHTTP-1.egg-info"])
def test_another_distribution_in_the_same_directory_is_a_warning(metadata: str) -> None:
    fault = judge(__version__, [*OURS, metadata], PACKAGE)
    assert f"the distribution 'corehttp' (/site-packages/{metadata}) is another project's" in fault
    assert "pip uninstall corehttp" in fault


@pytest.mark.parametrize(
    ("version", "text"),
    [
        ("1.0.0b7", f"/corehttp/__init__.py belongs to another project (1.0.0b7, not {__version__})"),
        (None, "/corehttp/__init__.py is missing"),
    ],
    ids=["overwritten", "removed"],
)
@pytest.mark.parametrize("beside", [OURS, [*OURS, "corehttp-1.0.0b7.dist-info"]])
def test_a_package_without_its_init_file_does_not_start(version: str | None, text: str, beside: list[str]) -> None:
    with pytest.raises(StartupError) as raised:
        judge(version, beside, PACKAGE)
    assert text in str(raised.value)
    assert "--force-reinstall" in str(raised.value)


# What a Python on Windows does not have, as far as modules of ours use it; `kit/windows_host.py` knows more.
ON_WINDOWS = """
import os, signal, socket, sys

sys.platform = "win32"
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
del os.fork, os.geteuid, signal.SIGHUP, signal.pthread_sigmask, socket.AF_UNIX
"""


def test_on_windows_what_needs_nothing_of_the_system_can_be_imported() -> None:
    program = f"{ON_WINDOWS}from corehttp import Config, ConfigError, __version__\nprint(Config(port=80).port)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "80\n"
