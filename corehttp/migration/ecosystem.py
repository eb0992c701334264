"""The ecosystem file of PM2 as commands of ours: one for each of its applications. Pure."""

import re
import shlex
from collections.abc import Callable
from typing import Any

from corehttp.migration.command_line import server_of
from corehttp.migration.commands import ReadFile, translate_words
from corehttp.migration.javascript import Expression
from corehttp.migration.translation import Translation
from corehttp.unknown_options import instead

# A variable of the environment in JavaScript, with or without a default.
_ENVIRONMENT = re.compile(
    r"process\.env\.([A-Za-z_]\w*)(?:\s*(?:\|\||\?\?)\s*(?P<quote>['\"]?)([\w.:/-]*)(?P=quote))?"
).fullmatch
# The directory of the file itself, or one below it.
_DIRECTORY = re.compile(r"__dirname|path\.(?:join|resolve)\(\s*__dirname\s*((?:,\s*(['\"])[^'\"]*\2\s*)*)\)").fullmatch
_NOWHERE = ("/dev/null", "NULL")  # where PM2 writes nothing
# Fields that need nothing, since corehttp does so anyway; the table of `unknown_options` has the reasons.
_ANYWAY = {"merge_logs", "combine_logs", "time", "wait_ready", "exp_backoff_restart_delay"}
# Fields that say how PM2 runs a program, or are read with another one.
_NEEDLESS = {
    "script",
    "args",
    "interpreter",
    "interpreter_args",
    "exec_interpreter",
    "exec_mode",
    "cwd",
    "env",
    "name",
    "namespace",
    "autorestart",
    "version",
    "source_map_support",
    "vizion",
    "treekill",
    "windowsHide",
}
Convert = Callable[[Any], dict[str, Any]]


def _instances(value: Any) -> dict[str, Any]:
    """Convert a number of processes; 0 and `max` are all CPUs, -1 all but one."""
    number = str(value)
    if number in ("max", "0"):
        return {"workers": "auto"}
    return {"workers": f"auto{number}" if number.startswith("-") else number}


def _milliseconds(option: str) -> Convert:
    return lambda value: {option: f"{float(value) / 1000:g}"}


_CONVERTED: dict[str, Convert] = {
    "instances": _instances,
    "max_memory_restart": lambda value: {"worker_max_rss": str(value)},
    "kill_timeout": _milliseconds("timeout_graceful_shutdown"),
    "listen_timeout": _milliseconds("timeout_worker_startup"),
    "out_file": lambda value: {"access_log": False} if value in _NOWHERE else {"access_log_file": value},
    "output": lambda value: {"access_log": False} if value in _NOWHERE else {"access_log_file": value},
    "error_file": lambda value: {"log_file": value},
    "error": lambda value: {"log_file": value},
}


def translate_ecosystem(content: Any, read_file: ReadFile, place: str = "") -> list[Translation]:
    """Return what each application of a file's content becomes; raises ValueError if it has none.

    `place` is the directory of the file; empty for the current one.
    """
    applications = content.get("apps") if isinstance(content, dict) else content
    if isinstance(applications, dict):
        applications = [applications]
    if not isinstance(applications, list) or not applications:
        raise ValueError("it has no list of applications (apps)")
    return [_translate(fields, read_file, place) for fields in applications if isinstance(fields, dict)]


def _translate(fields: dict[str, Any], read_file: ReadFile, place: str) -> Translation:
    """Return what one application, given by its fields, becomes."""
    cwd = _directory(fields.get("cwd", ""), place)
    directory = cwd if not isinstance(cwd, Expression) else ""

    def read_there(path: str) -> str | None:
        return read_file(path if path.startswith("/") or not directory else f"{directory}/{path}")

    unknown: list[str] = []
    words = [
        word for key in ("script", "interpreter_args", "args") for word in _words_of(key, fields.get(key, ""), unknown)
    ]
    translation = translate_words(words, read_there) if server_of(words) is not None else None
    if translation is None:
        translation = Translation()
        translation.notes.append(f"script {words[0] if words else ''}: name the application in it as MODULE:ATTRIBUTE")
    translation.title = str(fields.get("name", ""))
    translation.directory = directory
    translation.missing += unknown
    if isinstance(cwd, Expression):
        translation.missing.append(_unknown("cwd", cwd))
    if any("/" in str(fields.get(key, "")) for key in ("out_file", "error_file", "output", "error")):
        translation.notes.append("PM2 makes the directories of log files; corehttp needs them to be there")
    if translation.title:
        translation.add_options(f"name: {translation.title}", {"name": translation.title})
    _add_environment(translation, fields.get("env", {}))
    for key, value in fields.items():
        if key not in _NEEDLESS:
            _add_field(translation, key, value)
    return translation


def _directory(value: Any, place: str) -> str:
    """Return a directory as the shell takes it; an Expression where only PM2 knows it."""
    if not isinstance(value, Expression):
        return str(value)
    if (found := _DIRECTORY(value)) is None:
        return value
    below = re.findall(r"['\"]([^'\"]*)['\"]", found[1] or "")
    return "/".join([place or ".", *(name.removeprefix("./") for name in below)]) if below else place


def _words_of(key: str, value: Any, unknown: list[str]) -> list[str]:
    """Return a field that holds words, as text or as a list, as a list of words; variables are those of a shell.

    To `unknown` a line is added for each value that only PM2 knows, and there is no word for it.
    """
    if not isinstance(value, list | Expression):
        return shlex.split(str(value))
    words: list[str] = []
    for word in value if isinstance(value, list) else [value]:
        known = _variable(word) if isinstance(word, Expression) else str(word)
        if known is None:
            unknown.append(_unknown(key, word))
        else:
            words.append(known)
    return words


def _variable(expression: Expression) -> str | None:
    """Return a variable of the environment as a shell has it; None for anything else."""
    if (found := _ENVIRONMENT(expression)) is None:
        return None
    return f"${{{found[1]}:-{found[3]}}}" if found[3] else f"${{{found[1]}}}"


def _unknown(key: str, value: Expression) -> str:
    """Return the line about a value that is the result of a program."""
    return f"{key}: only PM2 knows its value ({value})"


def _add_environment(translation: Translation, variables: Any) -> None:
    """Add the variables of an `env` field; anything but an object has none."""
    if not isinstance(variables, dict):
        variables = {}
    for name, value in variables.items():
        if isinstance(value, Expression):
            translation.missing.append(_unknown(f"env {name}", value))
        else:
            translation.add_variable(str(name), str(value).lower() if isinstance(value, bool) else str(value))


def _add_field(translation: Translation, key: str, value: Any) -> None:
    """Add the option that does what a field does, or a line that says why there is none."""
    words = f"{key}: {value}"
    if key in _ANYWAY and value:
        translation.needless.append(f"{words}: {_instead(key)}")
    elif isinstance(value, Expression):
        translation.missing.append(_unknown(key, value))
    elif key in _CONVERTED:
        try:
            meant = _CONVERTED[key](value)
        except (ValueError, TypeError):
            translation.missing.append(f"{words}: it is not understood")
            return
        if "workers" in meant and "workers" in translation.options:
            translation.missing.append(f"{words}: the command has {translation.options['workers']} workers itself")
        else:
            translation.add_options(words, meant)
    elif key.startswith("env_"):
        translation.missing.append(f"{key}: give the variables to what starts corehttp there")
    elif value not in (False, None):
        translation.missing.append(f"{words}: {_instead(key)}")


def _instead(key: str) -> str:
    """Return what to use instead of a field, by the flag that means the same."""
    flags = {"out_file": "output", "error_file": "error", "log_file": "log", "restart_delay": "restart-delay"}
    return instead(flags.get(key, key)) or "there is nothing like it"
