"""A record of options is made from what was given: keyword arguments, flags, the environment, a file. Pure."""

from collections.abc import Mapping
from typing import Any, Self

from corehttp.errors import ConfigError
from corehttp.option import OTHER_NAMES, options_of, parse_value
from corehttp.option_sources import choose
from corehttp.records import field_names
from corehttp.unknown_options import suggest

# The one option that an embedded server takes from the environment too, as uvicorn's does: the container that the
# program runs in knows its proxies, the program does not.
_TRUSTED = "forwarded_allow_ips"


class SourcedOptions:
    """The base of a record whose fields are options: how it is made from the sources of their values."""

    @classmethod
    def of(cls, given: Mapping[str, Any], env: Mapping[str, str] = {}) -> Self:
        """Return the configuration that a program gives as keyword arguments.

        None stands for the default, as in `uvicorn.run`. Of the environment `env` only FORWARDED_ALLOW_IPS counts, and
        only if the program does not give `forwarded_allow_ips`. Raises ConfigError for an unknown
        option and for a wrong value.
        """
        known = set(field_names(cls))
        for key in given:
            if key not in known:
                raise ConfigError(f"{key!r} is not an option{suggest(key, known, str)}")
        given = {key: value for key, value in given.items() if value is not None}
        variable = OTHER_NAMES[_TRUSTED]
        if _TRUSTED in given or variable not in env:
            return cls(**given)
        entry = next(entry for entry in options_of(cls) if entry.name == _TRUSTED)
        return cls(**{**given, _TRUSTED: parse_value(entry, env[variable], variable)})

    @classmethod
    def from_sources(
        cls,
        flags: Mapping[str, object],
        env: Mapping[str, str],
        file: Mapping[str, object],
        file_name: str = "the configuration file",
    ) -> Self:
        """Return the configuration of a command: a flag, else the environment, else the file, else the default.

        An empty variable counts as not set, except where empty text is a value. Raises ConfigError for an unknown key
        of the file and for a wrong value; `file_name` is what messages call the file.
        """
        known = set(field_names(cls))
        for key in file:
            if key.replace("-", "_") not in known:
                raise ConfigError(f"{file_name}: {key!r} is not an option{suggest(key, known, _key)}")
        options = options_of(cls)
        given = choose(options, flags, env, file, file_name)
        values: dict[str, Any] = {
            entry.name: parse_value(entry, *given[entry.name]) for entry in options if entry.name in given
        }
        return cls(**values)


def _key(name: str) -> str:
    """Return an option's name as files and messages spell it."""
    return name.replace("_", "-")
