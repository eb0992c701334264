"""The command beside another project's package of the same import name, in every order in which both can come."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tests.kit.server_process import PACKAGE, PATIENCE

pytestmark = pytest.mark.e2e

# What the console script and `python -m corehttp` run. The application does not exist: a whole package says so.
SCRIPT = ("-c", "import corehttp_server; corehttp_server.main()", "nowhere:app", "--port", "0")
MODULE = ("-m", "corehttp", "nowhere:app", "--port", "0")
WHOLE = "there is no module 'nowhere'"


class Directory:
    """A directory of packages, in which distributions are installed and uninstalled as pip does it: file by file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "corehttp").mkdir(parents=True)

    def install_ours(self) -> None:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PACKAGE / "corehttp", self.path / "corehttp", ignore=ignored, dirs_exist_ok=True)
        shutil.copy(PACKAGE / "corehttp_server.py", self.path)
        (self.path / "corehttp_server-0.1.0.dist-info").mkdir()

    def install_theirs(self) -> None:
        (self.path / "corehttp" / "__init__.py").write_text("__version__ = '1.0.0b7'\n\nclass MatchConditions: ...\n")
        (self.path / "corehttp-1.0.0b7.dist-info").mkdir()

    def uninstall_theirs(self) -> None:
        (self.path / "corehttp" / "__init__.py").unlink()
        (self.path / "corehttp-1.0.0b7.dist-info").rmdir()


def run(arguments: tuple[str, ...], *paths: Path) -> tuple[int, str]:
    """The exit code and standard error of a Python whose packages are those in `paths`, and what this server needs.

    Without site (-S), so that no .pth file leads to the checkout.
    """
    needed = Path(click.__file__).parents[1]
    search = os.pathsep.join(map(str, (*paths, needed)))
    env = {key: value for key, value in os.environ.items() if not key.startswith("COREHTTP_")}
    done = subprocess.run(
        [sys.executable, "-S", *arguments],
        env={**env, "PYTHONPATH": search, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=paths[0],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    return done.returncode, done.stderr


@pytest.fixture
def packages(tmp_path: Path) -> Directory:
    return Directory(tmp_path / "packages")


@pytest.mark.parametrize("command", [SCRIPT, MODULE], ids=["script", "module"])
def test_installed_alone_nothing_is_said(packages: Directory, command: tuple[str, ...]) -> None:
    packages.install_ours()
    code, log = run(command, packages.path)
    assert code == 3
    assert WHOLE in log
    assert "distribution" not in log


@pytest.mark.parametrize("command", [SCRIPT, MODULE], ids=["script", "module"])
def test_overwritten_by_the_other_it_does_not_start(packages: Directory, command: tuple[str, ...]) -> None:
    packages.install_ours()
    packages.install_theirs()
    code, log = run(command, packages.path)
    assert code == 3
    assert "__init__.py belongs to another project (1.0.0b7, not " in log
    assert "pip uninstall corehttp, then install corehttp-server with --force-reinstall" in log
    assert "Traceback" not in log


@pytest.mark.parametrize("command", [SCRIPT, MODULE], ids=["script", "module"])
def test_installed_over_the_other_it_serves_and_warns(packages: Directory, command: tuple[str, ...]) -> None:
    packages.install_theirs()
    packages.install_ours()
    code, log = run(command, packages.path)
    assert code == 3
    assert WHOLE in log
    assert "the distribution 'corehttp' (" in log


@pytest.mark.feature
@pytest.mark.parametrize("command", [SCRIPT, MODULE], ids=["script", "module"])
def test_without_the_file_that_the_other_has_taken_along_it_does_not_start(
    packages: Directory, command: tuple[str, ...]
) -> None:
    packages.install_theirs()
    packages.install_ours()
    packages.uninstall_theirs()
    code, log = run(command, packages.path)
    assert code == 3
    assert "__init__.py is missing" in log
    assert "--force-reinstall" in log


@pytest.mark.feature
def test_hidden_by_the_other_the_script_says_so(packages: Directory, tmp_path: Path) -> None:
    """As where this server is installed in editable form, whose path comes after that of ordinary packages."""
    packages.install_ours()
    theirs = Directory(tmp_path / "theirs")
    theirs.install_theirs()
    code, log = run(SCRIPT, theirs.path, packages.path)
    assert code == 3
    assert f"the `corehttp` that Python imports, {theirs.path}" in log
    assert "Traceback" not in log
