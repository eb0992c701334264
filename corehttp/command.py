"""The command as click reads it: its help, and what is said of arguments that are wrong (see `arguments`)."""

import os
from typing import Any

import click

from corehttp.arguments import named_as_written
from corehttp.config import options
from corehttp.control.verb_names import STEERING, is_verb, meant_verb
from corehttp.migration.flags import Flag, NoEqualError
from corehttp.migration.uvicorn import UNDERSTOOD
from corehttp.option import Option
from corehttp.option_groups import COMMON, GROUPS
from corehttp.option_sources import Given
from corehttp.serving import serve
from corehttp.standard_streams import open_standard_streams
from corehttp.unknown_options import instead
from corehttp.version import __version__

# The inspections (`inspection.INSPECTIONS`), which are done instead of serving, and what the help says of each.
_INSPECTIONS = {
    "check-config": "Load the configuration and APP as a worker does, bind nothing, and exit: 0 if all is right.",
    "print-config": "Print all options with their sources, as a corehttp.toml has them, and exit.",
}
# What the context holds: whether the help is to show all options, and the arguments.
_ALL = "corehttp.help_all"
_WORDS = "corehttp.words"


def run() -> None:
    """Run the command with the arguments of this process, and end it."""
    open_standard_streams()
    # On Windows click would take `--forwarded-allow-ips *` for the files of the directory.
    command().main(prog_name="corehttp", windows_expand_args=False)


def command() -> click.Command:
    """Return the command with all its options."""
    parameters: list[click.Parameter] = [click.Argument(["app"], required=False, metavar="APP")]
    parameters += [_parameter(entry) for entry in options() if entry.name != "app"]
    parameters.append(
        click.Option(
            ["--help-all"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_help_all,
            help="Show all options and exit.",
        )
    )
    parameters += [_inspection(name, text) for name, text in _INSPECTIONS.items()]
    parameters += [click.Option([flag.key], default=None, hidden=True, **_kind(flag)) for flag in UNDERSTOOD]
    return click.version_option(__version__, message="corehttp %(version)s")(
        _Command(
            "corehttp",
            params=parameters,
            callback=_serve,
            help="Serve the ASGI or WSGI application APP (MODULE:ATTRIBUTE; MODULE alone means MODULE:app).\n\n"
            "\b\n"
            "  corehttp main:app --reload           while it is written\n"
            "  corehttp main:app --workers auto     on every core\n\n"
            "Each option can also be given as COREHTTP_<OPTION> in the environment, or as a key of [tool.corehttp] in "
            "pyproject.toml or of corehttp.toml; a flag wins over the environment, and that over the file.\n\n"
            f"With a verb as the first word it sees and steers services that run: {', '.join(STEERING)}; see "
            "`corehttp VERB --help`. `corehttp migrate` prints what a command of uvicorn or gunicorn becomes. An "
            "application whose module has such a name is written list:app.",
            context_settings={"help_option_names": ["-h", "--help"]},
        )
    )


class _Command(click.Command):
    """A command whose help is in groups, and whose error for another server's option says what to use instead."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in groups: those that most services need, or with `--help-all` all of them."""
        everything = bool(ctx.meta.get(_ALL))
        flags = (parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option))
        records = (
            (flag.opts[0] if flag.name == "inspection" else flag.name, flag.get_help_record(ctx)) for flag in flags
        )
        rows = {name: record for name, record in records if record is not None}
        for title, names in GROUPS.items():
            group = [(name, rows.pop(name)) for name in names]
            if shown := [row for name, row in group if everything or name in COMMON]:
                with formatter.section(title):
                    formatter.write_dl(shown)
        with formatter.section("Help"):
            formatter.write_dl(list(rows.values()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write where to find the options that are not shown."""
        if not ctx.meta.get(_ALL):
            formatter.write_paragraph()
            formatter.write_text(f"All {len(options()) - 1} options: corehttp --help-all")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does; raises UsageError that names what to use instead of an option of another server."""
        whole = ctx.meta[_WORDS] = args.copy()  # click takes words out of it
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if text := instead(error.option_name):
                message = f"There is no option {error.option_name}: {text}"
                raise click.UsageError("\n".join(filter(None, [message, _hint(whole)])), ctx) from None
            raise _with_verb(error, whole) from None
        except click.UsageError as error:
            raise _with_verb(error, whole) from None


def _with_verb(error: click.UsageError, arguments: list[str]) -> click.UsageError:
    """Return an error with the verb that is probably meant by the first argument, if no application is of that name."""
    word = arguments[0]
    if ":" not in word and not any(map(os.path.exists, (word, f"{word}.py"))) and (verb := meant_verb(word)):
        return click.UsageError(f"{error.format_message()}\n{verb[0].upper()}{verb[1:]}", error.ctx)
    return error


def _hint(arguments: list[str]) -> str:
    """Return the whole command, where the arguments are those of uvicorn or gunicorn; empty for any others."""
    from corehttp.migration.commands import translate_arguments  # here, since only a mistake needs it

    translation = translate_arguments(arguments)
    if translation is None:
        return ""
    rest = " (`corehttp migrate gunicorn ...` says what is left out)" if translation.missing else ""
    return f"Instead: {translation.command()}{rest}"


def _parameter(entry: Option) -> click.Option:
    """Return an option as click takes it."""
    default = "" if entry.default in (None, "", ()) else f" [default: {_shown(entry.default)}]"
    if entry.kind.is_switch:
        flag = f"{entry.flag}/--no-{entry.flag[2:]}"
        return click.Option([flag], default=None, help=entry.help + default)
    return click.Option(
        [*entry.flags],
        default=None,
        multiple=entry.kind.is_list,
        help=entry.help + default,
        metavar=entry.value,
        shell_complete=lambda ctx, param, begun: [word for word in entry.kind.choices if word.startswith(begun)],
    )


def _kind(flag: Flag) -> dict[str, Any]:
    """Return how click reads a flag of uvicorn's: with a value, or as a switch that is None if it is not given."""
    return {} if flag.takes_value else {"flag_value": "yes", "type": str}


def _inspection(name: str, text: str) -> click.Option:
    """Return the flag of an inspection, whose value is its name, or None if it is not given."""
    return click.Option([f"--{name}", "inspection"], flag_value=name, type=str, default=None, help=text)


def _help_all(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    """Show the help with all options, if that is wanted, and end the process."""
    if wanted:
        ctx.meta[_ALL] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()


def _shown(value: object) -> str:
    """Return a default as --help shows it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


@click.pass_context
def _serve(ctx: click.Context, /, **flags: object) -> None:
    """Serve with these flags, of which those that were not given are None or empty, and end the process."""
    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    if is_verb(word := str(given.get("app"))):
        raise click.UsageError(f"{word} is a verb, which comes first; an application of that name is {word}:app")
    given = named_as_written(given, ctx.meta[_WORDS])
    remarks: list[str] = []
    inspection = str(given.pop("inspection", ""))
    for flag in UNDERSTOOD:
        value = given.pop(flag.name, None)
        if value is not None:
            remarks.append(_understand(flag, str(value), given))
    serve(given, remarks, inspection=inspection)


def _understand(flag: Flag, value: str, given: dict[str, object]) -> str:
    """Add what a flag of uvicorn's means to the options of ours, which win; return a line that says so.

    Errors about what it means name the flag itself.
    """
    words = f"{flag.key} {value}" if flag.takes_value else flag.key
    try:
        meant = flag.options(value)
    except NoEqualError as error:
        raise click.UsageError(f"{flag.key}: {value!r} is not valid; {error}") from None
    ours = {name: f"--{name.replace('_', '-')}" for name in meant}
    if stronger := [ours[name] for name in meant if name in given]:
        return f"{words} is not taken: {' and '.join(stronger)} is given, too"
    given.update({name: Given(taken, flag.key) for name, taken in meant.items()})
    if not meant:
        return f"{words} is taken: nothing follows from it"
    return f"{words} is taken as {' '.join(f'{ours[name]} {taken}' for name, taken in meant.items())}"
