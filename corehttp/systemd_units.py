"""What `corehttp systemd-unit` prints or writes: the unit files of a service for systemd."""

import os
import pwd
import sys
from collections.abc import Sequence

from corehttp.bind_option import places
from corehttp.command import command
from corehttp.config import Config, options
from corehttp.control.naming import default_name
from corehttp.environment import variable
from corehttp.errors import ConfigError
from corehttp.option_sources import choose
from corehttp.records import replaced, values
from corehttp.serving import read_config_file
from corehttp.supervisor.deployment import Deployment
from corehttp.units import ADDRESS_OPTIONS, Installation, can_be_activated, service_unit, socket_unit


def unit_files(words: Sequence[str]) -> dict[str, str]:
    """Return the text of each unit file by its name, for a service with these arguments, started where we are.

    There is a socket file if the arguments alone say where the service listens, in a way that systemd can be told.
    Raises ConfigError, and click's errors for arguments that `corehttp` does not take.
    """
    origin = Deployment().start
    context = command().make_context("corehttp", list(words))
    given = {key: value for key, value in context.params.items() if value is not None and value != ()}
    known = {entry.name for entry in options()}
    if unknown := sorted(set(given) - known):
        raise ConfigError(f"--{unknown[0].replace('_', '-')} has no place in a unit: leave it out")
    directory = os.path.normpath(os.path.join(origin, given.get("chdir") or os.environ.get(variable("chdir")) or ""))
    file, source = read_config_file(directory)
    config = Config.from_sources(given, os.environ, file, source)
    if config.chdir is not None:
        config = replaced(config, chdir=os.path.normpath(os.path.join(origin, config.chdir)))
    if config.app is None:
        raise ConfigError("no application: name it as MODULE:ATTRIBUTE, as in main:app")
    if not config.supervised:
        raise ConfigError("supervise: systemd is told by a supervisor alone; leave out --no-supervise")
    chosen = choose(options(), given, os.environ, file, source)
    activated = can_be_activated(config) and not any(name in chosen and name not in given for name in ADDRESS_OPTIONS)
    name = config.name or default_name(str(config.app), _address(config))
    user = pwd.getpwuid(os.getuid()).pw_name if os.getuid() else ""
    variables = tuple(value.source for value in chosen.values() if value.source in os.environ)
    where = Installation(_program(), str(directory), user, variables)
    files = {f"{name}.service": service_unit(name, config, words, where, activated=activated)}
    return {**files, f"{name}.socket": socket_unit(name, config)} if activated else files


def write_files(files: dict[str, str], directory: str) -> None:
    """Write the files into a directory. Raises ConfigError for one that is there already, or cannot be written."""
    for name, text in files.items():
        path = os.path.join(directory, name)
        try:
            with open(path, "x") as file:
                file.write(text)
        except FileExistsError:
            raise ConfigError(f"{path} exists; remove it, or choose another --name") from None
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def _program() -> tuple[str, ...]:
    """Return the command that is this one in a unit, where no PATH counts."""
    script = os.path.join(os.path.dirname(sys.executable), "corehttp")
    return (script,) if os.access(script, os.X_OK) else (sys.executable, "-m", "corehttp")


def _address(config: Config) -> str:
    """Return the first address, for the name of a service that has none."""
    first = places(values(config))[0]
    return f"unix:{first[0]}" if isinstance(first[0], str) and len(first) == 1 else f":{first[-1]}"
