"""Writes the manual page of the command, from its options and verbs: python -m tests.man_page docs/corehttp.1."""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import click

from corehttp.config import options
from corehttp.control.verb_names import OTHER_NAMES
from corehttp.control.verbs import verbs
from corehttp.option import Option
from corehttp.option_groups import GROUPS
from corehttp.version import __version__

README = Path(__file__).parents[1] / "README.md"
_CODES = re.compile(r"^\| (\d+) \| (.+) \|$", re.MULTILINE)  # rows of the README's table of exit codes

Kind = TypeVar("Kind", bound=click.Parameter)

_BEGIN = r""".SH SYNOPSIS
.B corehttp
.RI [ OPTIONS ] " APP"
.br
.B corehttp
.IR VERB " [" OPTIONS ]
.SH DESCRIPTION
Serves the ASGI application APP, which is written MODULE:ATTRIBUTE (MODULE alone means MODULE:app), on every core: a
supervisor starts worker processes, replaces those that die, and stops the service without losing a request.
.PP
With a verb as the first word it sees and steers services that run. An application whose module has the name of a verb
is written as in list:app.
.PP
Each option can also be given as COREHTTP_<OPTION> in the environment, or as a key of [tool.corehttp] in pyproject.toml
or of corehttp.toml. A flag wins over the environment, and that over the file.
.PP
.B --check-config
loads the configuration and the application, binds nothing and exits;
.B --print-config
prints all options with their sources, as a corehttp.toml has them.
.B corehttp migrate
prints what a command of uvicorn or gunicorn, a gunicorn.conf.py or an ecosystem file of PM2 becomes.
"""
_END = r""".SH FILES
.TP
.B corehttp.toml
Options of the service, in the directory where it is started.
.TP
.B pyproject.toml
The same, in the table [tool.corehttp].
.SH SIGNALS
.TP
.B SIGTERM, SIGINT
Stop; what is in flight is answered first. A second SIGINT ends everything at once.
.TP
.B SIGHUP
Reload: new workers start with new code and configuration, then the old ones leave.
.TP
.B SIGTTIN, SIGTTOU
One worker more, or one less.
.TP
.B SIGUSR1
Open log files anew.
.TP
.B SIGUSR2
Start the command anew with the same sockets; once it serves, the old one leaves.
.TP
.B SIGQUIT
End everything at once.
"""


def page() -> str:
    """Return the page, in the language of man(7)."""
    return "".join(
        [
            f'.TH COREHTTP 1 "" "corehttp {__version__}" "User Commands"\n',
            ".SH NAME\ncorehttp \\- serve an ASGI application on every core\n",
            _BEGIN,
            *_options(),
            *_verbs(),
            _END,
            ".SH EXIT STATUS\n",
            *(_item(rf"\fB{code}\fR", meaning) for code, meaning in _CODES.findall(README.read_text())),
        ]
    )


def _options() -> Iterator[str]:
    """Yield the options in the groups of the help."""
    entries = {entry.name: entry for entry in options()}
    yield ".SH OPTIONS\n"
    for title, names in GROUPS.items():
        yield f".SS {title}\n"
        yield from (_option(entries[name]) for name in names)


def _option(entry: Option) -> str:
    if entry.kind.is_switch:
        return _item(f"{_bold(entry.flag)}, {_bold(f'--no-{entry.flag[2:]}')}", entry.help, _default(entry.default))
    return _item(f"{', '.join(map(_bold, entry.flags))} {_italic(entry.value)}", entry.help, _default(entry.default))


def _default(value: object) -> str:
    if value in (None, "", ()) and not isinstance(value, bool):
        return ""
    shown = (
        ("on" if value else "off") if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else value
    )
    return f" The default is {shown}."


def _verbs() -> Iterator[str]:
    """Yield the verbs, each with its other names and its own options."""
    yield ".SH VERBS\n"
    for name, verb in verbs.commands.items():
        others = [f" or {_bold(other)}" for other, meant in OTHER_NAMES.items() if meant == name]
        arguments = [f" {_italic(one.make_metavar(click.Context(verb)))}" for one in _of(verb, click.Argument)]
        yield _item("".join([_bold(name), *others, *arguments]), verb.help or "")
        flags = [" ".join([*map(_bold, one.opts), *map(_bold, one.secondary_opts)]) for one in _of(verb, click.Option)]
        yield f".br\nOptions: {', '.join(flags)}.\n"


def _of(verb: click.Command, kind: type[Kind]) -> Iterable[Kind]:
    return (parameter for parameter in verb.params if isinstance(parameter, kind))


def _item(term: str, text: str, default: str = "") -> str:
    """Return an entry of a list."""
    return f".TP\n{term}\n{_plain(' '.join(text.split()) + default)}\n"


def _bold(text: str) -> str:
    return rf"\fB{_plain(text)}\fR"


def _italic(text: str) -> str:
    return rf"\fI{_plain(text)}\fR"


def _plain(text: str) -> str:
    """Return text in which nothing is a command or an escape of man(7)."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("`", "").replace("…", "...")
    return rf"\&{text}" if text[:1] in ".'" else text


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
