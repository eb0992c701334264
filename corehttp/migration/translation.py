"""A command of ours that does what another server's does, as far as there is an equal. Pure."""

import re
import shlex
from collections.abc import Iterable
from typing import Any

from corehttp.config import Config, options
from corehttp.errors import ConfigError
from corehttp.migration.command_line import has_variable, quoted
from corehttp.migration.flags import Flag, Given, NoEqualError
from corehttp.option import Option, parse_value
from corehttp.records import fresh, mutable_record

PLACEHOLDER = "MODULE:ATTRIBUTE"  # stands for an application that is not named

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch
_FACTORY = re.compile(r"([\w.]+:[\w.]+)\(\s*\)").fullmatch


@mutable_record
class Translation:
    """What a command of another server becomes; the lines to tell about it are in the order in which they came up."""

    server: str = ""  # whose command it is, where it is one
    title: str = ""  # what it is called, where there are several
    directory: str = ""  # where it starts; empty: here
    environment: dict[str, str] = fresh(factory=dict)
    options: dict[str, Any] = fresh(factory=dict)  # options of ours by their names, as texts, truth values or lists
    expands: bool = False  # whether a shell puts in the variables, such as $PORT, in what is added
    needless: list[str] = fresh(factory=list)  # what needs no option here
    missing: list[str] = fresh(factory=list)  # what has no equal, and what to do instead
    unknown: list[str] = fresh(factory=list)  # the flags that are none of the other server's
    unread: list[str] = fresh(factory=list)  # the files that it names and that cannot be read
    notes: list[str] = fresh(factory=list)  # what else is to be known
    _with_variables: set[str] = fresh(factory=set)  # the options with a value that only the shell knows

    def add(self, given: str, flag: Flag, value: str, *, switched: bool = True) -> None:
        """Add a flag or setting with its value; `given` is how it was written."""
        try:
            meant = flag.options(value, switched=switched)
        except NoEqualError as error:
            self.missing.append(f"{given}: {error}")
            return
        self.add_options(given, meant, flag.text)

    def add_options(self, given: str, meant: dict[str, Any], text: str = "") -> None:
        """Add options of ours; a wrong value, and defaults, lead to a line instead.

        `text` says, after "nothing:", why nothing is needed where there are none.
        """
        if not meant:
            why = text.removeprefix("nothing: ").partition(";")[0]
            self.needless.append(f"{given}: {why}" if why else given)
            return
        are_defaults = [self._takes(given, entry, meant[entry.name]) for entry in options() if entry.name in meant]
        if all(are_defaults):
            self.needless.append(f"{given}: so it is by default")

    def add_variable(self, name: str, value: str) -> None:
        """Add a variable of the environment."""
        if _VARIABLE(name) is None:
            self.missing.append(f"{name!r}: a shell has no variables of that name")
        else:
            self.environment[name] = value

    def add_application(self, name: str) -> None:
        """Add the application, MODULE:ATTRIBUTE; the call of a function without arguments makes it a factory."""
        if (factory := _FACTORY(name)) is not None:
            self.options |= {"app": factory[1], "factory": True}
        else:
            self.options["app"] = name

    def command(self) -> str:
        """Return the command, for a shell."""
        given = dict(self.options)
        app = str(given.pop("app", PLACEHOLDER))
        words = ["corehttp", quoted(app) if self.expands else shlex.quote(app)]
        for entry in options():
            if entry.name in given:
                words += map(
                    quoted if entry.name in self._with_variables else shlex.quote, _words(entry, given[entry.name])
                )
        before = [f"{name}={shlex.quote(value)}" for name, value in self.environment.items()]
        line = " ".join([*before, *words])
        return f"cd {shlex.quote(self.directory)} && {line}" if self.directory else line

    def conflict(self) -> str:
        """Return what corehttp will say of the options together; empty if it takes them."""
        try:
            known = {name: value for name, value in self.options.items() if name not in self._with_variables}
            Config.from_sources(known, {}, {})
        except ConfigError as error:
            return str(error)
        return ""

    def _takes(self, given: str, entry: Option, value: Any) -> bool:
        """Set an option; answers whether that is needless, since the value is the default."""
        if self.expands and has_variable(value):
            self._with_variables.add(entry.name)
            self.options[entry.name] = (*self.options.get(entry.name, ()), value) if entry.kind.is_list else value
            return False
        try:
            parsed = parse_value(entry, [value] if entry.kind.is_list else value, given)
        except ConfigError as error:
            self.missing.append(str(error))
            return False
        if entry.kind.is_list:
            self.options[entry.name] = (*self.options.get(entry.name, ()), value)
            return False
        if parsed == entry.default and entry.name not in self.options:
            return True
        self.options[entry.name] = parsed if entry.kind.synonyms else value
        return False


def add_flags(translation: Translation, given: Iterable[Given | str], server: str) -> list[str]:
    """Add the flags of a command line to a translation; return its words that are no flags."""
    words: list[str] = []
    for item in given:
        if isinstance(item, str):
            words.append(item)
        elif item.flag is None:
            translation.unknown.append(item.words)
            translation.missing.append(f"{item.words}: {server} has no such flag")
        else:
            translation.add(item.words, item.flag, item.value, switched=item.switched)
    return words


def _words(entry: Option, value: Any) -> list[str]:
    """Return an option as a command line has it."""
    if entry.kind.is_switch:
        return [entry.flag if entry.kind.parse(value) else f"--no-{entry.flag[2:]}"]
    values = value if entry.kind.is_list else (value,)
    # A value that begins with a hyphen would be taken for a flag.
    return [word for one in values for word in ([f"{entry.flag}={one}"] if one[:1] == "-" else [entry.flag, one])]
