"""A command line as it stands in a Procfile, a Dockerfile or a script, as the words of one command. Pure."""

import json
import re
import shlex
from collections.abc import Sequence

from corehttp.migration.flags import MigrationError

SERVERS = ("uvicorn", "gunicorn", "fastapi")

_SHELLS = ("sh", "bash", "dash", "/bin/sh", "/bin/bash")
_ENDS = {"&&", "||", ";", "|", "&"}  # where a shell ends a command
_REDIRECTION = re.compile(r"[0-9]?[<>].*|&>.*").fullmatch
_JSON = re.compile(r"\[.*\]", re.DOTALL).search
# A variable that the shell puts in: $PORT, ${PORT} or ${PORT:-8000}. Nothing in it is run.
_VARIABLE = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*(?::?-[A-Za-z0-9_./:-]*)?\})")
_PLAIN = re.compile(r"[A-Za-z0-9_.,:/@%+=\[\]*-]*").fullmatch


def server_of(words: Sequence[str]) -> int | None:
    """Return the place of a server's name in a command, behind variables, `python -m`, `exec` and the like.

    A program of that name in a directory counts, and `fastapi` only where it is to `run` or `dev`.
    """
    for place, word in enumerate(words):
        name = server_name(word)
        if name in SERVERS and (name != "fastapi" or words[place + 1 : place + 2] in (["run"], ["dev"])):
            return place
    return None


def server_name(word: str) -> str:
    """Return the name of a program without its directory, and without the ending that it has on Windows."""
    return re.split(r"[/\\]", word)[-1].removesuffix(".exe")


def words_of(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words of the command that runs one of SERVERS, and what of the line is for the shell.

    `given` is one text, as a Procfile or the CMD of a Dockerfile has it, also in JSON; or words. The script of `sh -c`
    is taken for them. Without any of the servers, all words are those of the command. Raises MigrationError for a quote
    without its end.
    """
    words = _split(given[0]) if len(given) == 1 else list(given)
    if len(words) > 2 and words[-3] in _SHELLS and words[-2] in ("-c", "-lc", "-ec"):
        words = _split(words[-1])
    command: list[str] = []
    for word in [*words, ";"]:
        if word not in _ENDS:
            command.append(word)
        elif server_of(command) is not None:
            break
        else:
            command = []
    return _without_redirections(command or words)


def has_variable(word: object) -> bool:
    """Whether a word has a variable of the shell, and besides nothing that would have to be quoted."""
    return isinstance(word, str) and _VARIABLE.search(word) is not None and _PLAIN(_VARIABLE.sub("", word)) is not None


def quoted(word: str) -> str:
    """Return a word for a shell, which puts in the variables of one that `has_variable`."""
    return f'"{word}"' if has_variable(word) else shlex.quote(word)


def _split(text: str) -> list[str]:
    """Return the words of a text, which may have them as a list in JSON; raises MigrationError."""
    if (found := _JSON(text)) is not None:
        try:
            words = json.loads(found[0])
        except (ValueError, RecursionError):
            words = None
        if isinstance(words, list) and all(isinstance(word, str) for word in words) and _names_server(words):
            return words
    try:
        return shlex.split(text)
    except ValueError as error:
        raise MigrationError(f"{text}: {error}") from error


def _names_server(words: Sequence[str]) -> bool:
    """Whether one of SERVERS stands anywhere in these words, as it does in the script of `sh -c`."""
    return any(server in word for word in words for server in SERVERS)


def _without_redirections(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the words that are none of the shell's, and the redirections, each with its file."""
    command: list[str] = []
    redirections: list[str] = []
    rest = iter(words)
    for word in rest:
        if _REDIRECTION(word) is None:
            command.append(word)
        else:
            redirections.append(f"{word} {next(rest, '')}".strip() if word[-1] in "<>" else word)
    return command, redirections
