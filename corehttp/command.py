"""The command: argv, environment and configuration file become a Config; our errors become exit codes."""

import os
import sys
import tomllib
from pathlib import Path

import click

from corehttp.config import Config, Option, names, options
from corehttp.environment import warnings
from corehttp.errors import ConfigError, ExitCode
from corehttp.server import start
from corehttp.standard_streams import open_standard_streams
from corehttp.supervisor.deployment import Deployment
from corehttp.unknown_options import instead
from corehttp.version import __version__


def run() -> None:
    """Run the command with the arguments of this process, and end it."""
    open_standard_streams()
    command().main(prog_name="corehttp")


def command() -> click.Command:
    """The command with all its options."""
    parameters: list[click.Parameter] = [click.Argument(["app"], required=False, metavar="APP")]
    parameters += [_parameter(entry) for entry in options() if entry.name != "app"]
    return click.version_option(__version__, message="corehttp %(version)s")(
        _Command(
            "corehttp",
            params=parameters,
            callback=_serve,
            help="Serve the ASGI application APP (MODULE:ATTRIBUTE; MODULE alone means MODULE:app) on every core.\n\n"
            "Each option can also be given as COREHTTP_<OPTION> in the environment, or as a key of [tool.corehttp] in "
            "pyproject.toml or of corehttp.toml; a flag wins over the environment, and that over the file.",
            context_settings={"help_option_names": ["-h", "--help"]},
        )
    )


class _Command(click.Command):
    """Answers an option of uvicorn's or gunicorn's with what to use instead."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if text := instead(error.option_name):
                raise click.UsageError(f"There is no option {error.option_name}: {text}", ctx) from None
            raise


def read_config_file(directory: Path) -> tuple[dict[str, object], str]:
    """The options in corehttp.toml, or in [tool.corehttp] of pyproject.toml, and what to call their source.

    Raises ConfigError for a file that cannot be read or is not TOML.
    """
    own, project = directory / "corehttp.toml", directory / "pyproject.toml"
    if own.is_file():
        return _read_toml(own), own.name
    if not project.is_file():
        return {}, ""
    name = f"{project.name} [tool.corehttp]"
    table = _read_toml(project).get("tool", {})
    section = table.get("corehttp", {}) if isinstance(table, dict) else {}
    if not isinstance(section, dict):
        raise ConfigError(f"{name} must be a table of options, not {section!r}")
    return section, name


def _read_toml(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} cannot be read as TOML: {error}") from error


def _parameter(entry: Option) -> click.Option:
    default = "" if entry.default in (None, "", ()) else f" [default: {_shown(entry.default)}]"
    if entry.kind.is_switch:
        flag = f"{entry.flag}/--no-{entry.flag[2:]}"
        return click.Option([flag], default=None, help=entry.help + default)
    return click.Option(
        [entry.flag], default=None, multiple=entry.kind.is_list, help=entry.help + default, metavar=entry.value
    )


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _serve(**flags: object) -> None:
    given = {name: value for name, value in flags.items() if value is not None and value != ()}

    source = ""  # of the options that a file has given

    def read() -> Config:
        nonlocal source
        file, name = read_config_file(directory)
        if source and not directory.is_dir():
            raise ConfigError(f"the directory {directory} is gone, and {source} with it: put one in its place")
        source = name
        return Config.from_sources(given, os.environ, file, name)

    try:
        directory = Path(Deployment().start)
        code = start(read(), read, warnings(os.environ, names()), owns_process=True)
    except ConfigError as error:
        click.echo(f"Error: {error}", err=True)
        code = ExitCode.USAGE
    sys.exit(code)
