"""Serve with the options of a command: add those of the environment and of its file, and tell errors by exit codes."""

import contextlib
import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import NoReturn

from corehttp.bind_option import ActivatedPlace, InheritedPlace, places
from corehttp.config import Config, names, options
from corehttp.cpus import available_cpus
from corehttp.environment import variable, warnings
from corehttp.errors import ConfigError, ExitCode
from corehttp.garbage import uncollected
from corehttp.option_sources import choose
from corehttp.records import values
from corehttp.standard_streams import open_standard_streams
from corehttp.supervisor import interpreters
from corehttp.supervisor.deployment import Deployment, change_directory, start_directory

# What a TOML file with our table has: `tool`, unless the name of another table follows directly, or an escape in a key
# that is written so. One with a NUL is no TOML, but may be meant as such, in UTF-16.
_TRACE_OF_OUR_TABLE = rb"(?<![\w-])tool(?![\w-])(?!\.(?!corehttp)[\w-])|\\[uUx]|\0"


def serve(given: dict[str, object], remarks: Iterable[str] = (), *, inspection: str = "") -> None:
    """Serve with the options that the command was given, by their names, and end the process.

    `remarks` say how arguments were understood; they are logged with the level debug. `inspection` is the name
    of one of `inspection.INSPECTIONS`, which is done instead of serving; if it is empty, none is.
    """
    open_standard_streams()
    try:
        origin = start_directory()
        if chdir := str(given.get("chdir") or os.environ.get(variable("chdir")) or ""):
            change_directory(chdir, origin)  # before the configuration file is looked for
        reading = _Reading(given, Deployment().start)
        config = reading.read()
        doubts = warnings(os.environ, names())
        remarks = [*remarks, *reading.synonyms]
        if inspection:
            _inspect(inspection, config, doubts, reading.sources, origin)
        if _can_start_early(config):
            interpreters.start_early(interpreters.WORKER, str(config.app))
        with uncollected(owns_process=True):
            from corehttp.server import start  # here, so that the interpreter comes first

        code = start(
            *(config, reading.read, doubts, remarks),
            owns_process=True,
            sources=lambda: reading.sources,
            origin=origin,
        )
    except ConfigError as error:
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201
        code = ExitCode.USAGE
    finally:
        interpreters.end_early()
    sys.exit(code)


def _inspect(
    inspection: str, config: Config, doubts: Iterable[str], sources: Mapping[str, str], origin: str
) -> NoReturn:
    """Print the doubts, do one of `inspection.INSPECTIONS` instead of serving, and end the process with its code."""
    from corehttp.inspection import INSPECTIONS  # here, since few commands need it

    for doubt in doubts:
        print(f"Warning: {doubt}", file=sys.stderr)  # noqa: T201
    sys.exit(INSPECTIONS[inspection](config, sources, origin))


def _can_start_early(config: Config) -> bool:
    """Whether the first worker's interpreter can be started at once, and run beside this process.

    It cannot where the options, an earlier supervisor or systemd have still to say what a process keeps from its start
    on: its user, its permissions, its variables and descriptors. Its channel could also take the number of a
    descriptor that a bind names and that this process was not given. With one CPU it would gain nothing.
    """
    fixed = (config.preload, config.user, config.umask, config.chdir)
    if not config.supervised or any(fixed) or "NOTIFY_SOCKET" in os.environ or available_cpus() < 2:
        return False
    given = any(isinstance(place, InheritedPlace | ActivatedPlace) for place in places(values(config)))
    return not given and not _has_inherited_descriptors()


def _has_inherited_descriptors() -> bool:
    """Whether this process has descriptors, beside the standard streams, that a program started now would inherit.

    Also True where that cannot be told, since there is no proc(5).
    """
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return True
    for fd in map(int, names):
        with contextlib.suppress(OSError):  # the descriptor of the directory itself is closed again
            if fd > 2 and os.get_inheritable(fd):
                return True
    return False


class _Reading:
    """The options of a command, read with the environment and the file in a directory as they are at each time."""

    def __init__(self, given: dict[str, object], directory: str) -> None:
        self._given = given
        self._directory = directory
        self._file = ""  # how messages call the configuration file; empty if there was none at the last reading
        self.sources: dict[str, str] = {}  # for each option that was given at the last reading, where it was
        self.synonyms: list[str] = []  # lines about values of the last reading that are words of other servers

    def read(self) -> Config:
        """Return the options as they are now. Raises ConfigError, also if the directory of the file is gone."""
        file, name = read_config_file(self._directory)
        if self._file and not os.path.isdir(self._directory):
            raise ConfigError(
                f"the directory {self._directory} is gone, and {self._file} with it: put one in its place"
            )
        self._file = name
        chosen = choose(options(), self._given, os.environ, file, name)
        self.sources = {option: value.source for option, value in chosen.items()}
        taken = (entry.taken(*chosen[entry.name]) for entry in options() if entry.name in chosen)
        self.synonyms = [line for lines in taken for line in lines]
        return Config.from_sources(self._given, os.environ, file, name)


def read_config_file(directory: str | os.PathLike[str]) -> tuple[dict[str, object], str]:
    """Return the options in corehttp.toml, or in [tool.corehttp] of pyproject.toml, and what messages call that file.

    Both are empty if there is no such file in `directory`. Raises ConfigError if one cannot be read or is not TOML.
    """
    own, project = "corehttp.toml", "pyproject.toml"
    if os.path.isfile(os.path.join(directory, own)):
        return _read_toml(directory, own), own
    if not os.path.isfile(os.path.join(directory, project)) or not _may_have_our_table(directory, project):
        return {}, ""
    name = f"{project} [tool.corehttp]"
    table = _read_toml(directory, project).get("tool", {})
    section = table.get("corehttp", {}) if isinstance(table, dict) else {}
    if not isinstance(section, dict):
        raise ConfigError(f"{name} must be a table of options, not {section!r}")
    return section, name


def _may_have_our_table(directory: str | os.PathLike[str], name: str) -> bool:
    """Whether a TOML file may have a table [tool.corehttp], however it is spelled. Raises ConfigError.

    Most projects have a pyproject.toml, and few of them this table. To read such a file, with `tomllib`, takes 6 ms or
    more, to look for a trace of the table 0.3 ms.
    """
    try:
        with open(os.path.join(directory, name), "rb") as file:
            return re.search(_TRACE_OF_OUR_TABLE, file.read()) is not None
    except OSError as error:
        raise ConfigError(f"{name} cannot be read as TOML: {error}") from error


def _read_toml(directory: str | os.PathLike[str], name: str) -> dict[str, object]:
    import tomllib  # imported here, since it takes 6 ms, and often there is no such file

    try:
        with open(os.path.join(directory, name), "rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name} cannot be read as TOML: {error}") from error
