"""The arguments of a command without a mistake in them, read without click, which takes longer than all of this. Pure.

Whatever is not as plain as `corehttp main:app --port 80 --preload` is left to click (`command`): what it reads the same
way, `--help`, and all mistakes.
"""

from collections.abc import Iterable

from corehttp.config import options
from corehttp.control.verb_names import is_verb
from corehttp.option import SHORT_FLAGS, Option
from corehttp.option_sources import Given


def read_plain(words: Iterable[str]) -> dict[str, object] | None:
    """Return the options that these arguments give, by their names, as the command takes them.

    None where only click can tell what is meant, or what is wrong.
    """
    given: dict[str, object] = {}
    lists: dict[str, list[str]] = {}
    entries = _flags()
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            if "app" in given or is_verb(word):
                return None
            given["app"] = word
            continue
        flag, equals, text = word.partition("=")
        if flag not in entries:
            return None
        entry, switched = entries[flag]
        if switched is not None:
            if equals:
                return None
            given[entry.name] = switched
            continue
        value = text if equals else next(rest, "-")
        if value.startswith("-") and not equals:
            return None
        if entry.kind.is_list:
            lists.setdefault(entry.name, []).append(value)
        else:
            given[entry.name] = value
    return given | {name: tuple(values) for name, values in lists.items()}


def named_as_written(given: dict[str, object], words: Iterable[str]) -> dict[str, object]:
    """Return options with the short flag as their source if these arguments have that alone, so that errors name it."""
    named = dict(given)
    for name, short in SHORT_FLAGS.items():
        flag = next(entry.flag for entry in options() if entry.name == name)
        if name in given and not any(word.partition("=")[0] == flag for word in words):
            named[name] = Given(given[name], short)
    return named


def _flags() -> dict[str, tuple[Option, bool | None]]:
    """Return each flag with its option, and what it switches that to; None if it takes a value."""
    entries: dict[str, tuple[Option, bool | None]] = {}
    for entry in options():
        if entry.kind.is_switch:
            entries |= {entry.flag: (entry, True), f"--no-{entry.flag[2:]}": (entry, False)}
        elif entry.name != "app":
            entries |= dict.fromkeys(entry.flags, (entry, None))
    return entries
