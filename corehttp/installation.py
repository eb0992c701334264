"""Whether the package is whole: another project on the package index has the same import name.

That project's distribution is named `corehttp`, this one's `corehttp-server`. Installed in one directory they share
`corehttp/__init__.py`: the one installed last has overwritten it, and the one uninstalled last has removed it.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from corehttp.errors import StartupError
from corehttp.version import __version__

REMEDY = "use an environment without it: pip uninstall corehttp, then install corehttp-server with --force-reinstall"


def check_installation() -> str:
    """What is wrong with the installation though the server works, or empty text.

    Raises StartupError where the package is not whole. Reads one directory.
    """
    import corehttp

    directory = Path(__file__).resolve().parent
    version: str | None = getattr(corehttp, "__version__", None)
    try:
        beside = os.listdir(directory.parent)
    except OSError:  # for instance a package in a zip file, which nothing can be installed beside
        beside = []
    return judge(version, beside, directory)


def judge(version: str | None, beside: Iterable[str], directory: Path) -> str:
    """The same for `corehttp.__version__` as it was found, and the names `beside` the package's `directory`."""
    stranger = next(filter(_is_of_the_other_project, beside), "")
    if version != __version__:
        lost = "is missing" if version is None else f"belongs to another project ({version}, not {__version__})"
        raise StartupError(f"{directory / '__init__.py'} {lost}: the distribution 'corehttp' has it too; {REMEDY}")
    if stranger:
        return (
            f"the distribution 'corehttp' ({directory.parent / stranger}) is another project's and shares files with "
            f"this server: that one is broken by it, and uninstalling that one breaks this server; {REMEDY}"
        )
    return ""


def _is_of_the_other_project(name: str) -> bool:
    """Whether a name in a directory of packages is the metadata of a distribution `corehttp`, whatever its version."""
    distribution, _, kind = name.rpartition(".")
    return kind in {"dist-info", "egg-info"} and distribution.lower().partition("-")[0] == "corehttp"
