"""The options in force and where each came from, for operators; and what a reload would change."""

from corehttp.config import options
from corehttp.option_values import shown_value, source
from corehttp.supervisor.generations import Generations, fixed
from corehttp.supervisor.operator import JSONObject


def in_force(generations: Generations, generation: int) -> list[JSONObject]:
    """Return each option with its value and its source."""
    config, sources = generations.config(generation), generations.sources(generation)
    return [
        {
            "name": _key(entry.name),
            "value": shown_value(config, entry.name),
            "source": source(config, sources, entry.name),
        }
        for entry in options()
    ]


def changes(generations: Generations, generation: int) -> list[JSONObject]:
    """Return the options that are given otherwise by now, as they are and as they would be.

    `needs_restart` says that a reload would leave an option as it is. Raises ConfigError if a reload would fail, and
    OSError.
    """
    config, (ahead, sources) = generations.config(generation), generations.look_ahead()
    kept = fixed(config, ahead)
    return [
        {
            "name": _key(entry.name),
            "value": shown_value(config, entry.name),
            "next": shown_value(ahead, entry.name),
            "source": source(ahead, sources, entry.name),
            "needs_restart": entry.name in kept,
        }
        for entry in options()
        if getattr(config, entry.name) != getattr(ahead, entry.name)
    ]


def _key(name: str) -> str:
    return name.replace("_", "-")
