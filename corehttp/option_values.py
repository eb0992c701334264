"""The values of options as they may be shown, and where each came from. Pure."""

from collections.abc import Mapping

from corehttp.config import Config, options
from corehttp.log_config_option import is_dictionary


def shown_value(config: Config, name: str) -> object:
    """Return a value as JSON can hold it.

    A secret is not told. Of header fields, which may hold one, the names are, and of a dictionary for logging nothing.
    """
    value = getattr(config, name)
    conceal = next(entry.kind.conceal for entry in options() if entry.name == name)
    if value is not None and conceal is not None:
        return conceal(value)
    if name == "header":
        return [field.decode("latin-1") for field, _ in value]
    if name == "log_config" and value is not None and is_dictionary(value):
        return "a dictionary"
    return list(value) if isinstance(value, tuple) else value


def source(config: Config, sources: Mapping[str, str], name: str) -> str:
    """Return where an option was given; `sources` are those of the options that a command was given."""
    if name in sources:
        return sources[name]
    default = next(entry.default for entry in options() if entry.name == name)
    return "default" if getattr(config, name) == default else "the program"
