"""What `--print-config` and the like do instead of serving: no socket is bound, and no worker is started."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping

from corehttp.config import Config, options
from corehttp.errors import ConfigError, ExitCode, StartupError
from corehttp.input_files import check_input_files
from corehttp.log_paths import check_log_files, located
from corehttp.logs import set_up
from corehttp.option_values import shown_value, source
from corehttp.privileges import Privileges, wanted_account
from corehttp.supervisor.deployment import change_directory, start_directory
from corehttp.user_access import check_access, is_made_by_root
from corehttp.worker import wiring
from corehttp.worker.exit_limit import limit_exit


def print_config(config: Config, sources: Mapping[str, str], origin: str = "") -> ExitCode:
    """Print all options as a corehttp.toml has them, each with its source; return the exit code.

    `origin` does not matter.
    """
    for line in lines(config, sources):
        print(line)  # noqa: T201
    return ExitCode.CLEAN


def check_config(config: Config, sources: Mapping[str, str], origin: str = "") -> ExitCode:
    """Load the application as a worker does, and return the exit code; raises ConfigError.

    `origin` is the directory in which the command was given, if that is not the current one. Whatever the application
    leaves running does not keep this process from its end.
    """
    if config.app is None:
        raise ConfigError("no application: name it as MODULE:ATTRIBUTE, as in main:app")
    if config.chdir is not None:
        change_directory(config.chdir, origin or start_directory())
    privileges = Privileges(wanted_account(config.user, config.group))
    with privileges.put_away():
        check_access(config, privileges, start_directory())
        return _check_files_and_load(config, privileges)


def _check_files_and_load(config: Config, privileges: Privileges) -> ExitCode:
    """Check the files that the options name, and load the application as the user that is to serve it."""
    check_log_files(located(config), make=False, skip=is_made_by_root if privileges.account else lambda _: False)
    check_input_files(config, start_directory())
    if config.supervised:
        from corehttp.supervision import check_options  # here, since one worker does without a supervisor's modules

        check_options(config)
    set_up(config.log_level, config.log_format, "check", colours=config.use_colors)
    code = ExitCode.CLEAN
    privileges.drop()
    try:
        wiring.import_early(config)
        wiring.import_bus(config)
        wiring.load_application(config)
    except StartupError as error:
        print(f"Error: {error}\n{error.detail}".rstrip(), file=sys.stderr)  # noqa: T201
        code = ExitCode.STARTUP
    else:
        print(f"corehttp: the options are right, and {config.app} can be loaded in {os.getcwd()}")  # noqa: T201
    limit_exit(wiring.worker_settings(config).shutdown.exit, code)
    return code


# The inspections by the names of their flags.
INSPECTIONS: Mapping[str, Callable[[Config, Mapping[str, str], str], ExitCode]] = {
    "check-config": check_config,
    "print-config": print_config,
}


def lines(config: Config, sources: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each option; what a file cannot hold, or is not to be told, is a comment."""
    told = [(entry.name.replace("_", "-"), *_value(config, entry.name), entry.name) for entry in options()]
    width = max(len(name) + len(text) for name, text, _, _ in told if len(text) < 40) + 3
    for name, text, is_whole, option in told:
        line = f"{name} = {text}" if is_whole else f"# {name}{f' = {text}' if text else ''}"
        yield f"{line:<{width}}  # {source(config, sources, option)}"


def _value(config: Config, name: str) -> tuple[str, bool]:
    """Return the text of a value, and whether it is the value as a file would have it."""
    value = shown_value(config, name)
    if value is None:
        return "", False
    own = getattr(config, name)
    # What JSON calls true, false, numbers, texts and lists, TOML does too (TOML 1.0, "String": the same escapes).
    return json.dumps(value, ensure_ascii=False), value == (list(own) if isinstance(own, tuple) else own)
