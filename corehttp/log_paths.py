"""Where the options say that log lines go, and whether they can go there."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from corehttp.errors import ConfigError
from corehttp.log_file import check
from corehttp.log_rotation import RotationRule
from corehttp.records import replaced
from corehttp.supervisor.deployment import start_directory

if TYPE_CHECKING:
    from corehttp.config import Config


def log_paths(config: "Config") -> dict[str, str]:
    """Return the path of each log file in use, by the name of its option as messages spell it."""
    paths = {"log-file": config.log_file, "access-log-file": config.access_log_file if config.access_log else None}
    return {option: path for option, path in paths.items() if path is not None}


def rotation_rule(config: "Config") -> RotationRule:
    """Return which log files the options want to be rotated, and when."""
    return RotationRule(tuple(dict.fromkeys(log_paths(config).values())), config.log_max_size, config.log_keep)


def located(config: "Config", start: Callable[[], str] = start_directory) -> "Config":
    """Return the configuration with absolute paths of files that are written; relative ones begin in `start()`.

    By default that is the directory in which the process was started, by the name under which a deployment may put
    another one there; ConfigError is raised if it has been removed.
    """
    paths = {"log_file": config.log_file, "access_log_file": config.access_log_file, "pid": config.pid}
    relative = {name: path for name, path in paths.items() if path is not None and not os.path.isabs(path)}
    if not relative:
        return config
    directory = start()
    return replaced(config, **{name: os.path.join(directory, path) for name, path in relative.items()})


def check_log_files(config: "Config", *, make: bool = True, skip: Callable[[str], bool] = lambda _: False) -> None:
    """Make the log files that are missing, unless `make` is False. Files for whose paths `skip` is true are left out.

    Raises ConfigError, with what helps, if lines cannot be appended to one.
    """
    for option, path in log_paths(config).items():
        if not skip(path) and (fault := check(option, path, make=make)):
            raise ConfigError(fault)
