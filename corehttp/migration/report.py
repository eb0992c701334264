"""What `corehttp migrate` prints: commands for a shell, and in comments what has no equal."""

import os
from collections.abc import Iterable

from corehttp.migration.commands import translate_gunicorn_file, translate_words
from corehttp.migration.ecosystem import translate_ecosystem
from corehttp.migration.flags import MigrationError
from corehttp.migration.javascript import exported
from corehttp.migration.translation import Translation

LARGEST = 1 << 20  # bytes of the largest file that is read
MOST_CONTENT = 1 << 21  # characters of texts and number of other values in a YAML file, with what aliases stand for


def migrate(words: list[str]) -> str:
    """Return what to print for a command line, or for the path of a configuration file.

    Raises MigrationError for what is neither, for a file that cannot be read or is not what its name says, and for a
    flag that the other server does not have. What corehttp has no equal for is a comment, not an error.
    """
    path = words[0] if len(words) == 1 and (" " not in words[0] or os.path.exists(words[0])) else ""
    ending = os.path.splitext(path)[1]
    if ending == ".py":
        return report([translate_gunicorn_file(_read(path), path)])
    if ending in (".js", ".cjs", ".mjs", ".json", ".yaml", ".yml"):
        try:
            content = _yaml(path) if ending in (".yaml", ".yml") else exported(_read(path))
            return report(translate_ecosystem(content, read_file, os.path.dirname(path)))
        except ValueError as error:
            raise MigrationError(f"{path} is no ecosystem file of PM2: {error}") from error
    translation = translate_words(words, read_file)
    if translation is None:
        raise MigrationError(
            "name a command of uvicorn or gunicorn, as in `corehttp migrate gunicorn main:app -w 4`, `fastapi run` or "
            "`fastapi dev`, or a file: gunicorn.conf.py, ecosystem.config.js"
        )
    if translation.unread:
        raise MigrationError(f"{translation.unread[0]} cannot be read: there is no such file")
    if translation.unknown:
        raise MigrationError(f"{', '.join(translation.unknown)}: {translation.server} has no such flag")
    return report([translation])


def read_file(path: str) -> str | None:
    """Return the text of a file; None if there is none. Raises MigrationError if it cannot be read."""
    return _read(path) if os.path.exists(path) else None


def report(translations: Iterable[Translation]) -> str:
    """Return commands and comments for these translations."""
    return "\n\n".join("\n".join(_lines(translation)) for translation in translations)


def _lines(translation: Translation) -> Iterable[str]:
    """Yield the command of a translation, and the comments about it."""
    if translation.title:
        yield f"# {_comment(translation.title)}"
    yield translation.command()
    yield from (f"# {_comment(note)}" for note in translation.notes)
    if conflict := translation.conflict():
        yield f"# corehttp will refuse this: {_comment(conflict)}"
    for heading, lines in (("has no equal", translation.missing), ("needs nothing", translation.needless)):
        if lines:
            yield f"# {heading}:"
            yield from (f"#   {_comment(line)}" for line in lines)


def _comment(line: str) -> str:
    """Return a line as one line, whatever stands in it."""
    return " ".join(line.split())


def _read(path: str) -> str:
    """Return the text of a file. Raises MigrationError if it cannot be read, or is larger than LARGEST."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise MigrationError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > LARGEST:
        raise MigrationError(f"{path} has more than {LARGEST} bytes")
    return content.decode(errors="replace")


def _yaml(path: str) -> object:
    """Return the content of a YAML file. Raises MigrationError, and ValueError for what is not YAML or too much."""
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError:
        raise MigrationError(f"{path}: PyYAML is not installed; it reads such files") from None
    try:
        content: object = yaml.safe_load(_read(path))
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from error
    _check_size(content)
    return content


def _check_size(content: object) -> None:
    """Raise ValueError for more than MOST_CONTENT, as a few aliases of aliases are when they are written out."""
    size, waiting = 0, [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
        size += len(value) if isinstance(value, str) else 1
        if size + len(waiting) > MOST_CONTENT:
            raise ValueError("its aliases stand for too much")
