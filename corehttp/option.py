"""One option: its name, default, kind and help; how it is declared, and how its value is read. Pure."""

from typing import Any, NamedTuple

from corehttp.environment import variable
from corehttp.errors import ConfigError
from corehttp.option_kinds import WRONG, OptionKind, wrong_part
from corehttp.records import field_names

# The names that other servers and platforms give some options in the environment; our own names win.
OTHER_NAMES = {"workers": "WEB_CONCURRENCY", "forwarded_allow_ips": "FORWARDED_ALLOW_IPS"}
# The short flags that options have beside their own.
SHORT_FLAGS = {"bind": "-b"}
# The default, kind and help of each field of `config.Config`, in their order.
declared: list[tuple[Any, OptionKind, str]] = []


class Option(NamedTuple):
    """One option, for the command line, the documentation and `Config`."""

    name: str
    default: object
    kind: OptionKind
    help: str

    @property
    def flag(self) -> str:
        """The flag on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def flags(self) -> tuple[str, ...]:
        """All flags on the command line that take the option's value: its own, and a short one if it has that."""
        return (self.flag, SHORT_FLAGS[self.name]) if self.name in SHORT_FLAGS else (self.flag,)

    @property
    def env(self) -> str:
        """The name of the option's own environment variable, COREHTTP_<OPTION>."""
        return variable(self.name)

    @property
    def variables(self) -> tuple[str, ...]:
        """The names of all environment variables that set the option; the first one that is set counts."""
        return (self.env, OTHER_NAMES[self.name]) if self.name in OTHER_NAMES else (self.env,)

    def is_set(self, text: str | None) -> bool:
        """Whether a variable with this text sets the option; an empty one does only if the option's kind allows that.

        `text` is None if there is no such variable.
        """
        return bool(text) or (text is not None and self.kind.takes_nothing)

    def taken(self, value: object, source: str) -> list[str]:
        """Return a line that says for which choice a synonym is taken; an empty list if `value` is no synonym.

        `source` says in that line where the value was given.
        """
        word = value.lower() if isinstance(value, str) else ""
        return [f"{source} {word} is taken as {self.kind.synonyms[word]}"] if word in self.kind.synonyms else []

    @property
    def value(self) -> str:
        """What --help shows behind the flag: the choices, or a placeholder."""
        return "|".join(self.kind.choices) or self.kind.placeholder or self.name.upper()


def option(default: Any, kind: OptionKind, help: str) -> Any:
    """Declare the next field of Config, which is an option; return its default."""
    declared.append((default, kind, help))
    return default


def options_of(cls: type) -> tuple[Option, ...]:
    """Return the options that a record has declared as its fields, in their order."""
    return tuple(Option(name, *rest) for name, rest in zip(field_names(cls), declared, strict=True))


def parse_value(entry: Option, value: object, source: str) -> object:
    """Return the value as `Config` holds it.

    Raises ConfigError for a wrong value; its text names `source`, what was given and what is allowed.
    """
    try:
        return entry.kind.parse(value)
    except WRONG as error:
        wrong = wrong_part(entry.kind, value)
        shown = "what is given" if entry.kind.is_secret and isinstance(wrong, str) else repr(wrong)
        raise ConfigError(f"{source}: {shown} is not valid; it must be {entry.kind.allowed}") from error
