"""What becomes of the flags of uvicorn and gunicorn: the tables are held to the help of those that are installed."""

import inspect
import re
import subprocess
import sys

import click
import gunicorn.config  # type: ignore[import-untyped]
import pytest
import uvicorn.main  # for its command, which a function of that name hides
from click.testing import CliRunner

from corehttp.command import command
from corehttp.config import Config, names, options
from corehttp.migration import gunicorn as gunicorn_table
from corehttp.migration import uvicorn as uvicorn_table
from corehttp.migration.commands import translate_words
from corehttp.migration.flags import Flag, NoEqualError
from corehttp.migration.tables import table
from corehttp.option import SHORT_FLAGS, parse_value
from tests.migration_tables import DOCS, TABLES, with_table

TABLES_OF = {"uvicorn": uvicorn_table.FLAGS, "gunicorn": gunicorn_table.FLAGS}
SETTINGS = {setting.name: setting for setting in gunicorn.config.KNOWN_SETTINGS}
EVERY = [pytest.param(flag, id=f"{server} {flag.key}") for server, flags in TABLES_OF.items() for flag in flags]
UVICORN: click.Command = sys.modules["uvicorn.main"].main
OURS = {entry.flag for entry in options()} | {f"--no-{entry.flag[2:]}" for entry in options() if entry.kind.is_switch}


def flags_in_help(program: str) -> set[str]:
    """All flags that the help of the installed program names at the beginning of a line."""
    text = subprocess.run([sys.executable, "-m", program, "--help"], capture_output=True, text=True, check=True).stdout
    lines = [line for line in text.splitlines() if line.strip().startswith("-")]
    return {flag for line in lines for flag in re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", line.split("  ")[1] or line)}


@pytest.mark.parametrize("server", TABLES_OF)
def test_the_table_has_each_flag_of_the_installed_peer_and_no_other(server: str) -> None:
    """A flag that is new in a release of theirs belongs into the table, and one that is gone does not."""
    flags = flags_in_help(server)
    assert len(flags) > 50
    assert {name for flag in TABLES_OF[server] for name in flag.names} == flags


def test_the_table_has_each_setting_of_the_installed_gunicorn_and_no_other() -> None:
    assert {flag.setting for flag in gunicorn_table.FLAGS if flag.setting} == set(SETTINGS)


def test_flags_take_values_where_those_of_the_installed_uvicorn_do() -> None:
    switches = {
        name
        for parameter in UVICORN.params
        if isinstance(parameter, click.Option) and (parameter.is_flag or parameter.name == "version")
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    ours = {name for flag in uvicorn_table.FLAGS if not flag.takes_value for name in flag.names}
    assert ours == switches | {"--help"}


def test_flags_take_values_where_those_of_the_installed_gunicorn_do() -> None:
    for flag in gunicorn_table.FLAGS:
        if flag.names and flag.setting:
            setting = SETTINGS[flag.setting]
            takes_one = setting.action in (None, "append", "store") and setting.nargs != "?"
            assert flag.takes_value == takes_one, flag.names
            assert set(flag.names) == set(setting.cli)


@pytest.mark.parametrize("name", TABLES)
def test_the_documents_have_the_present_tables(name: str) -> None:
    assert with_table(name) == (DOCS / name).read_text(), "run: python -m tests.migration_tables"


@pytest.mark.parametrize("flag", EVERY)
def test_each_flag_has_an_answer_that_names_only_options_of_ours(flag: Flag) -> None:
    if flag.key in ("--help", "--version"):
        return
    assert flag.text if flag.convert else flag.ours or flag.instead
    answer = table([flag], "").splitlines()[-1].split("|")[-2]
    assert set(re.findall(r"--[a-z-]*[a-z]", answer)) <= {*OURS, "--help"}


def test_rows_with_the_same_answer_are_one() -> None:
    rows = table(uvicorn_table.FLAGS, "uvicorn").splitlines()
    (row,) = (row for row in rows if "ssl-ciphers" in row)
    assert row == "| `--ssl-ca-certs`, `--ssl-ciphers`, `--header`, `--app-dir` | the same |"


# What values become.


def converted(table: tuple[Flag, ...], name: str, value: str) -> object:
    """The options of ours for a flag, or why there are none."""
    flag = next(flag for flag in table if name in flag.names or name == flag.setting)
    try:
        return flag.options(value)
    except NoEqualError as error:
        return str(error)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("-b", "0.0.0.0:80", {"bind": "0.0.0.0:80"}),
        ("-b", "0.0.0.0", {"bind": "0.0.0.0:8000"}),
        ("-b", ":80", {"bind": "0.0.0.0:80"}),
        ("-b", "[::]:80", {"bind": "[::]:80"}),
        ("-b", "[::1]", {"bind": "[::1]:8000"}),
        ("-b", "localhost:80", {"bind": "localhost:80"}),
        ("-b", "unix:/run/app.sock", {"bind": "unix:/run/app.sock"}),
        ("-b", "unix:///run/app.sock", {"bind": "unix:///run/app.sock"}),
        ("-b", "unix:app.sock", {"bind": "unix:app.sock"}),
        ("-b", "fd://3", {"bind": "fd://3"}),
        ("-b", "a:b:c", "use HOST:PORT, unix:PATH or fd://N"),
        ("-w", "4", {"workers": "4"}),
        ("-k", "uvicorn.workers.UvicornWorker", {}),
        ("-k", "uvicorn_worker.UvicornWorker", {}),
        ("-k", "uvicorn.workers.UvicornH11Worker", {"http": "h11", "loop": "asyncio"}),
        ("-k", "asgi", {}),
        ("-k", "gthread", {}),
        ("-k", "gevent", "every worker runs an event loop, and a WSGI application in --threads"),
        ("--threads", "4", {"threads": "4"}),
        ("--timeout", "60", {"timeout_worker_healthcheck": "60"}),
        ("--graceful-timeout", "60", {"timeout_graceful_shutdown": "60"}),
        ("--keep-alive", "5", {"timeout_keep_alive": "5"}),
        ("--max-requests", "1000", {"limit_max_requests": "1000"}),
        ("--max-requests-jitter", "50", {"limit_max_requests_jitter": "50"}),
        ("--preload", "", {"preload": True}),
        ("-u", "www-data", {"user": "www-data"}),
        ("group", "33", {"group": "33"}),
        ("--chdir", "/srv/shop", {"chdir": "/srv/shop"}),
        ("--initgroups", "", {}),
        ("-m", "0o27", {"umask": "027"}),
        ("-m", "0022", {"umask": "022"}),
        ("-m", "0", {"umask": "000"}),
        ("umask", "23", {"umask": "027"}),  # as a file's 0o027 is read
        ("-m", "0o1777", "use --umask with three octal digits, as in 027"),
        ("-m", "u=rwx", "use --umask with three octal digits, as in 027"),
        ("--access-logfile", "-", {"access_log_file": "-"}),
        ("--log-file", "/var/log/app", {"log_file": "/var/log/app"}),
        ("wsgi_app", "main:app", {"app": "main:app"}),
        ("--keyfile", "key", {"ssl_keyfile": "key"}),
        ("--proxy-protocol", "", {"proxy_protocol": "auto"}),
        ("--proxy-protocol", "True", {"proxy_protocol": "auto"}),
        ("--proxy-protocol", "v2", {"proxy_protocol": "v2"}),
        ("--proxy-protocol", "off", {"proxy_protocol": "off"}),
        ("--proxy-protocol", "v3", "use --proxy-protocol off, v1, v2 or auto"),
        ("proxy_allow_ips", "10.0.0.0/8", {"proxy_allow_from": "10.0.0.0/8"}),
    ],
)
def test_what_values_of_gunicorn_become(name: str, value: str, expected: object) -> None:
    assert converted(gunicorn_table.FLAGS, name, value) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("--interface", "wsgi", {"interface": "wsgi"}),
        ("--ws-per-message-deflate", "False", {"ws_compression": "off"}),
        ("--ws-per-message-deflate", "true", {"ws_compression": "small"}),
        ("--ws-per-message-deflate", "maybe", "its value is true or false"),
        ("--h11-max-incomplete-event-size", "16384", {"limit_request_head": "16384"}),
        ("--reset-contextvars", "", {}),
        ("--ws", "wsproto", {"ws": "wsproto"}),
        ("--http2", "", "HTTP/2 is not spoken; a proxy in front does"),
    ],
)
def test_what_values_of_uvicorn_become(name: str, value: str, expected: object) -> None:
    assert converted(uvicorn_table.FLAGS, name, value) == expected


NO_VALUE = "\0?"  # what only options take that take any text


@pytest.mark.parametrize(
    ("server", "name"),
    [
        (server, name)
        for server, flags in TABLES_OF.items()
        for flag in flags
        if flag.takes_value and flag.key not in ("--config", "--env")
        for name in flag.names
    ],
)
def test_a_wrong_value_is_told_with_the_flag_as_it_was_written(server: str, name: str) -> None:
    translation = translate_words([server, "main:app", name, NO_VALUE], lambda path: None)
    assert translation is not None
    is_taken = bool(translation.needless) or translation.options.keys() > {"app"}
    assert [told.partition(f" {NO_VALUE}: ")[0] for told in translation.missing] == ([] if is_taken else [name])


@pytest.mark.parametrize("flag", [flag for flag in uvicorn_table.UNDERSTOOD if flag.takes_value])
def test_a_wrong_value_of_an_understood_flag_is_told_under_its_name(flag: Flag) -> None:
    result = CliRunner().invoke(command(), ["main:app", flag.key, "wrong"])
    assert result.exit_code == 2
    assert f"Error: {flag.key}: 'wrong' is not valid; " in result.stderr


@pytest.mark.parametrize("option", SHORT_FLAGS)
@pytest.mark.parametrize("form", ["{} wrong", "{}=wrong", "{}wrong"])
def test_a_wrong_value_of_a_short_flag_is_told_under_its_name(option: str, form: str) -> None:
    """The first two forms are read without click, the last one with it."""
    words = ["main:app", *form.format(SHORT_FLAGS[option]).split()]
    done = subprocess.run([sys.executable, "-m", "corehttp", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: {SHORT_FLAGS[option]}: 'wrong' is not valid; ")


def test_an_understood_flag_gives_way_to_the_option_that_it_means() -> None:
    words = ["--print-config", "--limit-request-head", "300", "--h11-max-incomplete-event-size", "200"]
    assert re.search(r"^limit-request-head = 300 +# --limit-request-head$", printed(words), re.MULTILINE)
    source = r"^limit-request-head = 200 +# --h11-max-incomplete-event-size$"
    assert re.search(source, printed(["--print-config", *words[3:]]), re.MULTILINE)


def printed(words: list[str]) -> str:
    """What the command prints with these arguments."""
    return CliRunner().invoke(command(), words).stdout


@pytest.mark.parametrize(
    ("option", "word", "value"),
    [
        ("ws", "auto", "on"),
        ("ws", "Websockets-Sansio", "on"),
        ("ws", "wsproto", "on"),
        ("ws", "none", "off"),
        ("http", "zttp", "auto"),
        ("loop", "zuvloop", "auto"),
    ],
)
def test_words_of_uvicorn_are_taken_for_a_choice_and_it_can_be_told(option: str, word: str, value: str) -> None:
    entry = next(entry for entry in options() if entry.name == option)
    assert parse_value(entry, word, entry.flag) == value
    assert entry.taken(word, entry.flag) == [f"{entry.flag} {word.lower()} is taken as {value}"]
    assert entry.taken(value, entry.flag) == []
    assert word.lower() not in entry.value


def test_what_uvicorn_takes_as_a_default_in_a_program_is_taken_here() -> None:
    parameters = inspect.signature(uvicorn.Config).parameters.values()
    shared = {one.name: one.default for one in parameters if one.name in names() - {"app"}}
    assert len(shared) > 30
    assert None in shared.values()
    assert isinstance(shared["log_config"], dict)
    Config.of(shared)


def test_none_in_a_program_is_the_default() -> None:
    assert Config.of({"workers": None, "limit_concurrency": None, "forwarded_allow_ips": None}) == Config()
    assert Config.of({"forwarded_allow_ips": None}, {"FORWARDED_ALLOW_IPS": "*"}).forwarded_allow_ips == "*"


def test_each_choice_of_the_installed_uvicorn_is_a_value_here() -> None:
    for parameter in UVICORN.params:
        entry = next((entry for entry in options() if f"--{parameter.name}".replace("_", "-") == entry.flag), None)
        if entry is not None and isinstance(parameter.type, click.Choice):
            for word in parameter.type.choices:
                parse_value(entry, word, entry.flag)
