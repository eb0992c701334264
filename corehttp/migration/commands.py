"""Commands of uvicorn, gunicorn and fastapi, and configuration files of gunicorn, as commands of ours. Pure.

Files are read by what the caller passes.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from corehttp.config import Config
from corehttp.migration import fastapi, gunicorn, uvicorn
from corehttp.migration.command_line import has_variable, server_name, server_of, words_of
from corehttp.migration.flags import Flag, Given, MigrationError, read_words
from corehttp.migration.gunicorn_file import SettingsFile, read_settings
from corehttp.migration.translation import Translation, add_flags

ReadFile = Callable[[str], str | None]  # the text of a file by its path; None where there is none

GUNICORN_FILE = "gunicorn.conf.py"  # what gunicorn reads from the directory of its start

_DEFAULT_ADDRESS = f"{Config().host}:{Config().port}"
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL).fullmatch
_SETTINGS = {flag.setting: flag for flag in gunicorn.FLAGS if flag.setting}


def translate_words(words: Sequence[str], read_file: ReadFile) -> Translation | None:
    """Return what a command line, as words or one text, becomes; None if it runs none of SERVERS.

    Raises MigrationError for a quote without its end, if its configuration file is not Python, and if the path of
    fastapi names no file.
    """
    words, redirections = words_of(words)
    place = server_of(words)
    if place is None:
        return None
    translation = Translation(server=server_name(words[place]))
    for word in words[:place]:
        if (assignment := _ASSIGNMENT(word)) is not None:
            translation.add_variable(assignment[1], assignment[2])
    match translation.server:
        case "gunicorn":
            _add_gunicorn(translation, words[place + 1 :], read_file)
        case "fastapi":
            _add_fastapi(translation, words[place + 1], words[place + 2 :], read_file)
        case _:
            _add_uvicorn(translation, words[place + 1 :])
    translation.missing += [f"{text}: it is for the shell; write it behind the command" for text in redirections]
    return translation


def translate_arguments(arguments: Sequence[str]) -> Translation | None:
    """Return what the arguments of a command of uvicorn's or gunicorn's become; None if they are of neither."""
    for server in ("uvicorn", "gunicorn"):
        translation = translate_words([server, *arguments], lambda path: None)
        if translation is not None and "app" in translation.options and not translation.unknown:
            return translation
    return None


def translate_gunicorn_file(text: str, name: str) -> Translation:
    """Return what a configuration file of gunicorn becomes; raises MigrationError if it is not Python."""
    translation = Translation()
    _add_settings(translation, read_settings(text), name, given=())
    _leave_out_default_address(translation)
    return translation


def _add_uvicorn(translation: Translation, words: Iterable[str]) -> None:
    translation.expands = True
    names = add_flags(translation, read_words(words, uvicorn.FLAGS), "uvicorn")
    if str(translation.options.get("log_level")).lower() in uvicorn.SILENT and "access_log" not in translation.options:
        translation.options["access_log"] = False
        translation.notes.append("uvicorn logs requests from the level info on; here --no-access-log switches them off")
    _add_names(translation, names)


def _add_fastapi(translation: Translation, verb: str, words: Iterable[str], read_file: ReadFile) -> None:
    """Add `fastapi run` or `fastapi dev`: the path of a file, or --entrypoint, says which application is meant."""
    translation.expands = True
    translation.add_options(f"fastapi {verb}", {"host": fastapi.HOSTS[verb], "reload": verb == "dev"})
    named: dict[str, str] = {}
    flags: list[Given | str] = []
    for item in read_words(words, fastapi.FLAGS):
        if isinstance(item, Given) and item.flag is not None and item.flag.setting:
            named[item.flag.setting] = item.value
        else:
            flags.append(item)
    paths = add_flags(translation, flags, "fastapi")
    if "port" not in translation.options:
        translation.notes.append("fastapi reads the variable PORT; if it is set there, add --port $PORT")
    translation.missing += [f"{path}: a service has one application" for path in paths[1:]]
    if "entrypoint" in named:
        translation.add_application(named["entrypoint"])
        return
    found = fastapi.application(paths[0] if paths else "", named.get("app", ""), read_file)
    translation.add_application(found.name)
    if found.directory:
        translation.add_options(f"fastapi {verb}", {"app_dir": found.directory})


def _add_gunicorn(translation: Translation, words: Iterable[str], read_file: ReadFile) -> None:
    """Add a command of gunicorn, in which a flag wins over its file."""
    given: list[Given | str] = []
    path, is_named = GUNICORN_FILE, False
    for item in read_words(words, gunicorn.FLAGS):
        if isinstance(item, Given) and item.flag is not None and item.flag.setting == "config":
            path, is_named = item.value.removeprefix("file:"), True
        else:
            given.append(item)
    text = read_file(path)
    settings = {item.flag.setting for item in given if isinstance(item, Given) and item.flag is not None}
    if text is not None:
        file = read_settings(text)
        _add_settings(translation, file, path, given=settings)
        settings |= {*file.values, *file.computed}
    elif is_named:
        translation.missing.append(f"-c {path}: it cannot be read")
        translation.unread.append(path)
    translation.expands = True
    names = add_flags(translation, list(_parted(translation, given)), "gunicorn")
    _leave_out_default_address(translation)
    if not settings & {"worker_class", "threads"}:
        translation.notes.append("gunicorn runs a WSGI application in one thread of each worker: --threads 1")
    _add_names(translation, [name if ":" in name or has_variable(name) else f"{name}:application" for name in names])


def _parted(translation: Translation, given: Iterable[Given | str]) -> Iterator[Given | str]:
    """Pass on what is no variable, and of several addresses in one flag each as one."""
    for item in given:
        if isinstance(item, str) or item.flag is None:
            yield item
        elif item.flag.setting == "raw_env":
            translation.add_variable(*_pair(item.value))
        elif item.flag.setting == "bind":
            yield from (item._replace(value=address.strip()) for address in item.value.split(","))
        else:
            yield item


def _leave_out_default_address(translation: Translation) -> None:
    """Leave out the address that a service has anyway if there is no other one."""
    if translation.options.get("bind") == (_DEFAULT_ADDRESS,):
        del translation.options["bind"]
        translation.needless.append(f"-b {_DEFAULT_ADDRESS}: so it is by default")


def _add_names(translation: Translation, names: Sequence[str]) -> None:
    """Add the application, which is the first name."""
    if names:
        translation.add_application(names[0])
    translation.missing += [f"{name}: a service has one application" for name in names[1:]]


def _add_settings(translation: Translation, file: SettingsFile, name: str, *, given: Iterable[str]) -> None:
    """Add the settings of a file, except those that are `given` elsewhere; raises MigrationError."""
    if file.fault:
        raise MigrationError(f"{name} is not Python: {file.fault}")
    translation.notes.append(f"{name} was read, not run")
    translation.notes += [
        f"{name} reads {variable} from the environment; what stands here is its default"
        for variable in dict.fromkeys(file.defaults)
    ]
    for setting, flag in _SETTINGS.items():
        if setting in given:
            continue
        if setting in file.values:
            _add_setting(translation, flag, file.values[setting])
        elif setting == "workers" and setting in file.of_cpus:
            translation.add_options(f"{setting} ({file.computed[setting]})", {"workers": "auto"})
            translation.notes.append("--workers auto is one for each CPU: an event loop needs no more")
        elif setting in file.computed and flag.convert is None and flag.instead.startswith("use --") and not flag.ours:
            translation.missing.append(f"{setting}: {flag.instead}")
        elif setting in file.computed:
            translation.missing.append(f"{setting}: only gunicorn knows its value ({file.computed[setting]})")


def _add_setting(translation: Translation, flag: Flag, value: Any) -> None:
    """Add one setting with its value as Python has it."""
    words = flag.setting if value is True else f"{flag.setting} = {value!r}"
    if value is None or (value is False and not flag.takes_value):
        return
    if flag.setting == "raw_env":
        for line in value if isinstance(value, list) else [value]:
            translation.add_variable(*_pair(str(line)))
    elif flag.setting == "bind":
        for address in value if isinstance(value, list) else str(value).split(","):
            translation.add(f"bind {address}", flag, str(address).strip())
    elif flag.setting == "wsgi_app":
        translation.add_application(str(value))
    elif isinstance(value, list | dict):
        text = ",".join(map(str, value)) if isinstance(value, list) else ""
        translation.add(words, flag, text)
    else:
        translation.add(words, flag, str(value))


def _pair(line: str) -> tuple[str, str]:
    """Return the name and the value of NAME=VALUE."""
    name, _, value = line.partition("=")
    return name, value
