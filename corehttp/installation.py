"""Check that the package is whole: another project on the package index has the same import name.

That project's distribution is named `corehttp`, this one's `corehttp-server`. Installed in one directory they share
`corehttp/__init__.py`: the one installed last has overwritten it, and the one uninstalled last has removed it.
"""

import os
from collections.abc import Iterable

from corehttp.errors import StartupError
from corehttp.version import __version__

REMEDY = "use an environment without it: pip uninstall corehttp, then install corehttp-server with --force-reinstall"


def check_installation() -> str:
    """Return what is wrong with the installation though the server works; empty if nothing is.

    Raises StartupError if the package is not whole. Reads the directory that the package is installed in.
    """
    import corehttp

    directory = os.path.dirname(os.path.realpath(__file__))
    version: str | None = getattr(corehttp, "__version__", None)
    try:
        beside = os.listdir(os.path.dirname(directory))
    except OSError:  # the package is in a zip file, say, beside which nothing can be installed
        beside = []
    return judge(version, beside, directory)


def judge(version: str | None, beside: Iterable[str], directory: str | os.PathLike[str]) -> str:
    """Return the same as `check_installation`, from what that has found; raises StartupError as it does.

    `version` is `corehttp.__version__`, or None if there is none; `beside` are the names in the directory that holds
    `directory`, the package's own.
    """
    stranger = next(filter(_is_of_the_other_project, beside), "")
    if version != __version__:
        lost = "is missing" if version is None else f"belongs to another project ({version}, not {__version__})"
        raise StartupError(
            f"{os.path.join(directory, '__init__.py')} {lost}: the distribution 'corehttp' has it too; {REMEDY}"
        )
    if stranger:
        return (
            f"the distribution 'corehttp' ({os.path.join(os.path.dirname(directory), stranger)}) is another project's "
            "and shares files with this server: that one is broken by it, and uninstalling that one breaks this "
            f"server; {REMEDY}"
        )
    return ""


def _is_of_the_other_project(name: str) -> bool:
    """Whether a name in a directory of packages is the metadata of a distribution `corehttp`, whatever its version."""
    distribution, _, kind = name.rpartition(".")
    return kind in {"dist-info", "egg-info"} and distribution.lower().partition("-")[0] == "corehttp"
