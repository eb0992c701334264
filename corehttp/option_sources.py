"""Where the value of an option comes from: a flag, else the environment, else the file, else the default. Pure."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from corehttp.environment import without_service_links


class SourcedOption(Protocol):
    """An option as far as its sources go."""

    @property
    def name(self) -> str:
        """The name, with underscores."""

    @property
    def flag(self) -> str:
        """The flag on the command line."""

    @property
    def variables(self) -> tuple[str, ...]:
        """Where the environment may have it, the strongest first."""

    def is_set(self, text: str | None) -> bool:
        """Whether this text of a variable is a value."""


class Given(NamedTuple):
    """A value as it was given, and what to call its source."""

    value: object
    source: str


def choose(
    options: Iterable[SourcedOption],
    flags: Mapping[str, object],
    env: Mapping[str, str],
    file: Mapping[str, object],
    file_name: str,
) -> dict[str, Given]:
    """Return what was given for each option, from its strongest source; an option that nobody has set is left out.

    `flags` has values, or a `Given` where another name of the option was written. An empty variable counts as not set,
    except where empty text is a value.
    """
    env = without_service_links(env)
    keys = {key.replace("-", "_"): key for key in file}
    chosen: dict[str, Given] = {}
    for option in options:
        variable = next((name for name in option.variables if option.is_set(env.get(name))), None)
        if option.name in flags:
            value = flags[option.name]
            own = "APP" if option.name == "app" else option.flag
            chosen[option.name] = value if isinstance(value, Given) else Given(value, own)
        elif variable is not None:
            chosen[option.name] = Given(env[variable], variable)
        elif option.name in keys:
            chosen[option.name] = Given(file[keys[option.name]], f"{file_name}: {keys[option.name]}")
    return chosen
