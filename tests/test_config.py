"""Every option through every source, which source wins, and what is said about a wrong value."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from corehttp.config import Config, Option, options
from corehttp.errors import ConfigError
from corehttp.protocols.limits import Limits
from corehttp.worker.wiring import limits
from tests.options_table import table, with_table

README = Path(__file__).parents[1] / "README.md"


class Sample(NamedTuple):
    text: str  # as on the command line or in the environment
    value: object  # as Config holds it
    other: str  # another right value
    wrong: object  # no value for it
    allowed: str  # what the message says is


SECONDS = Sample("2.5", 2.5, "3", "-1", "a number of seconds, 0 or more")
ON = Sample("yes", True, "off", "perhaps", "true or false")
OFF = Sample("no", False, "on", "perhaps", "true or false")
ANY_TEXT = Sample("somewhere", "somewhere", "elsewhere", 5, "text")
COUNT = Sample("50", 50, "51", "-1", "a whole number from 0 to 2147483648")
SAMPLES = {
    "app": Sample("main:app", "main:app", "main:other", "", "some text"),
    "factory": ON,
    "app_dir": Sample("lib", "lib", "src", 5, "a path"),
    "host": ANY_TEXT,
    "port": Sample("80", 80, "81", "65536", "a whole number from 0 to 65535"),
    "uds": Sample("path", "path", "other", "", "some text"),
    "uds_permissions": Sample("0660", "660", "600", "888", "three octal digits, as in 660"),
    "fd": Sample("3", 3, "4", "-1", "a whole number from 0 to 1048575"),
    "backlog": Sample("10", 10, "11", "0", "a whole number from 1 to 65535"),
    "limit_connections": Sample("1000", 1000, "0", "-1", "a whole number from 0 to 1048575"),
    "workers": Sample("auto/2", "auto/2", "3", "0", "a number from 1, auto"),
    "socket": Sample("Shared", "shared", "reuseport", "own", "one of auto, reuseport, shared"),
    "loop": Sample("uvloop", "uvloop", "asyncio", "gevent", "one of auto, uvloop, asyncio"),
    "http": Sample("h11", "h11", "httptools", "h2", "one of auto, httptools, h11"),
    "ws": Sample("off", "off", "on", "perhaps", "one of off, on"),
    "ws_max_size": Sample("1M", 2**20, "100", "0", "a number of bytes from 1, as in 65536, 64K or 10M"),
    "ws_max_queue": Sample("50", 50, "51", "0", "a whole number from 1 to 1048575"),
    "ws_write_high_water": Sample("128K", 2**17, "100", "-1", "a number of bytes from 0, as in 65536, 64K or 10M"),
    "ws_ping_interval": SECONDS,
    "ws_ping_timeout": SECONDS,
    "ws_compression": Sample("Full", "full", "off", "much", "one of off, small, full"),
    "ws_compression_min_size": Sample("1K", 1024, "0", "-1", "a number of bytes from 0, as in 65536, 64K or 10M"),
    "limit_websockets": Sample("50", 50, "51", "-1", "a whole number from 0 to 1048575"),
    "lifespan": Sample("off", "off", "on", "maybe", "one of auto, on, off"),
    "root_path": Sample("/api/", "/api", "/v1", "api", "a path that begins with /, as in /api"),
    "pathsend": ON,
    "early_hints": ON,
    "proxy_headers": OFF,
    "forwarded_allow_ips": Sample("10.0.0.0/8,unix", "10.0.0.0/8,unix", "*", "10.0.0.1/8", "a list with commas of"),
    "forwarded_fields": Sample("For,x-forwarded-proto", "for,proto", "host", "for,user", "a list with commas of for, "),
    "timeout_keep_alive": SECONDS,
    "timeout_request_header": SECONDS,
    "timeout_request_body": SECONDS,
    "timeout_write_stall": SECONDS,
    "timeout_request": SECONDS,
    "limit_request_line": Sample("4K", 4096, "100", "63", "a number of bytes from 64, as in 65536, 64K or 10M"),
    "limit_request_fields": Sample("50", 50, "51", "0", "a whole number from 1 to 32768"),
    "limit_request_head": Sample("128kb", 131072, "100", "1T", "a number of bytes from 64, as in 65536, 64K or 10M"),
    "limit_request_body": Sample("2G", 2**31, "100", "-1", "a number of bytes from 0, as in 65536, 64K or 10M"),
    "limit_concurrency": Sample("50", 50, "51", "-1", "a whole number from 0 to 1048575"),
    "limit_queue": Sample("50", 50, "51", "-1", "a whole number from 0 to 1048575"),
    "limit_queue_timeout": SECONDS,
    "limit_exempt": Sample("/healthz", ("/healthz",), "/ready", "healthz", "a path that begins with /"),
    "limit_max_requests": COUNT,
    "limit_max_requests_jitter": COUNT,
    "worker_max_age": SECONDS,
    "worker_max_age_jitter": SECONDS,
    "worker_max_rss": Sample("300M", 300 * 2**20, "100", "-1", "a number of bytes from 0, as in 65536, 64K or 10M"),
    "cancel_on_disconnect": ON,
    "timeout_graceful_shutdown": SECONDS,
    "timeout_lifespan_shutdown": SECONDS,
    "timeout_exit": SECONDS,
    "shutdown_delay": SECONDS,
    "shutdown_idle_grace": SECONDS,
    "shutdown_stream_grace": SECONDS,
    "shutdown_ws_grace": SECONDS,
    "timeout_worker_startup": SECONDS,
    "timeout_worker_healthcheck": SECONDS,
    "blocked_warn": SECONDS,
    "reload_strategy": Sample("stop-first", "stop-first", "start-first", "at-once", "one of start-first, stop-first"),
    "reload_parallel": Sample("4", 4, "5", "0", "a whole number from 1 to 1024"),
    "preload": ON,
    "preload_strict": ON,
    "crash_loop_timeout": SECONDS,
    "supervise": OFF,
    "log_level": Sample("DEBUG", "debug", "error", "loud", "one of critical, error, warning, info, debug"),
    "access_log": OFF,
    "log_format": Sample("json", "json", "text", "xml", "one of text, json"),
    "header": Sample("X-One: 1", ((b"X-One", b"1"),), "x-two:2", "X One: 1", "NAME:VALUE"),
    "server_header": OFF,
    "date_header": OFF,
}
# What an option is not allowed without.
COMPANIONS: dict[str, dict[str, Any]] = {
    "uds_permissions": {"uds": "path"},
    "limit_max_requests_jitter": {"limit_max_requests": 100},
    "worker_max_age_jitter": {"worker_max_age": 100.0},
    "preload_strict": {"preload": True},
}
BY_NAME = {entry.name: entry for entry in options()}
EACH = pytest.mark.parametrize("name", list(BY_NAME))
Give = Callable[[Option, Any], Config]


def company(entry: Option) -> dict[str, Any]:
    return COMPANIONS.get(entry.name, {})


def by_keyword(entry: Option, value: Any) -> Config:
    return Config(**company(entry), **{entry.name: value})


def by_flag(entry: Option, value: Any) -> Config:
    return Config.from_sources({**company(entry), entry.name: value}, {}, {})


def by_environment(entry: Option, value: Any) -> Config:
    return Config.from_sources(company(entry), {entry.env: value}, {})


def by_file(entry: Option, value: Any) -> Config:
    return Config.from_sources(company(entry), {}, {entry.name: value}, "corehttp.toml")


def by_file_with_dashes(entry: Option, value: Any) -> Config:
    return Config.from_sources(company(entry), {}, {entry.name.replace("_", "-"): value}, "corehttp.toml")


SOURCES = pytest.mark.parametrize("give", [by_keyword, by_flag, by_environment, by_file, by_file_with_dashes])


def test_there_is_a_sample_for_each_option() -> None:
    assert list(SAMPLES) == list(BY_NAME)


@EACH
@SOURCES
def test_each_option_can_be_given_by_each_source(give: Give, name: str) -> None:
    config = give(BY_NAME[name], SAMPLES[name].text)
    assert getattr(config, name) == SAMPLES[name].value
    others = {key: value for key, value in dataclasses.asdict(config).items() if key != name}
    usual = dataclasses.asdict(Config(**company(BY_NAME[name])))
    assert others == {key: value for key, value in usual.items() if key != name}


@EACH
def test_a_value_of_its_own_type_is_taken(name: str) -> None:
    assert getattr(by_keyword(BY_NAME[name], SAMPLES[name].value), name) == SAMPLES[name].value


@EACH
@SOURCES
def test_a_wrong_value_is_named_with_its_source_and_what_is_allowed(give: Give, name: str) -> None:
    sample = SAMPLES[name]
    if give is by_environment and sample.wrong == "":  # empty text is the only wrong text, and counts as not set here
        assert give(BY_NAME[name], sample.wrong) == Config()
        return
    with pytest.raises(ConfigError) as caught:
        give(BY_NAME[name], sample.wrong)
    message = str(caught.value)
    assert repr(sample.wrong) in message
    assert f"it must be {sample.allowed}" in message
    assert source_name(give, BY_NAME[name]) in message


def source_name(give: Give, entry: Option) -> str:
    if give is by_flag:
        return "APP" if entry.name == "app" else entry.flag
    if give is by_environment:
        return entry.env
    if give is by_keyword:
        return entry.name
    key = entry.name if give is by_file else entry.name.replace("_", "-")
    return f"corehttp.toml: {key}"


@EACH
def test_a_flag_wins_over_the_environment_and_that_over_the_file(name: str) -> None:
    entry, sample = BY_NAME[name], SAMPLES[name]
    wins = getattr(by_keyword(entry, sample.text), name)
    for flags, env, file in (
        ({name: sample.text}, {entry.env: sample.other}, {name: sample.other}),
        ({}, {entry.env: sample.text}, {name: sample.other}),
        ({}, {}, {name: sample.text}),
    ):
        flags.update(company(entry))
        assert getattr(Config.from_sources(flags, env, file), name) == wins


def test_what_a_stronger_source_hides_is_not_read() -> None:
    assert Config.from_sources({"port": "1"}, {"COREHTTP_PORT": "wrong"}, {"port": "wrong"}).port == 1


def test_web_concurrency_is_weaker_than_our_own_name_and_stronger_than_the_file() -> None:
    web = {"WEB_CONCURRENCY": "2"}
    assert Config.from_sources({}, web, {"workers": 3}).workers == "2"
    assert Config.from_sources({}, {**web, "COREHTTP_WORKERS": "4"}, {"workers": 3}).workers == "4"
    assert Config.from_sources({"workers": "5"}, {**web, "COREHTTP_WORKERS": "4"}, {}).workers == "5"
    with pytest.raises(ConfigError, match=r"^WEB_CONCURRENCY: 'x' is not valid"):
        Config.from_sources({}, {"WEB_CONCURRENCY": "x"}, {})


def test_the_proxies_that_uvicorn_would_trust_are_weaker_than_our_own_name_and_may_be_none() -> None:
    theirs = {"FORWARDED_ALLOW_IPS": "10.0.0.0/8"}
    assert Config.from_sources({}, theirs, {"forwarded-allow-ips": "*"}).forwarded_allow_ips == "10.0.0.0/8"
    both = {**theirs, "COREHTTP_FORWARDED_ALLOW_IPS": "unix"}
    assert Config.from_sources({}, both, {}).forwarded_allow_ips == "unix"
    assert Config.from_sources({}, {"FORWARDED_ALLOW_IPS": ""}, {}).forwarded_allow_ips == ""
    with pytest.raises(ConfigError, match=r"^FORWARDED_ALLOW_IPS: 'proxy' is not valid"):
        Config.from_sources({}, {"FORWARDED_ALLOW_IPS": "proxy"}, {})


def test_trusted_proxies_may_be_a_list() -> None:
    assert Config(forwarded_allow_ips=["10.0.0.0/8", "unix"]).forwarded_allow_ips == "10.0.0.0/8,unix"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value", ["api", "//api", "/a//b", "/a/../b", "/.", "/a\\b", "/a\nb", "/\udcff", "http://a", None]
)
def test_prefixes_that_are_not_understood(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^root_path: .* must be a path that begins with /"):
        Config(root_path=value)


@pytest.mark.parametrize(
    ("value", "path"), [("", ""), ("/", ""), ("/api/", "/api"), ("/grüße an/b@c/", "/grüße an/b@c")]
)
def test_prefixes_that_are_understood(value: str, path: str) -> None:
    assert Config(root_path=value).root_path == path


@pytest.mark.parametrize("value", ["", "66", "6666", "0666 ", "rw-", "0x1b6", 666, 0o666, None, True])
def test_permissions_that_are_not_understood(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^uds_permissions: .* three octal digits"):
        Config(uds="path", uds_permissions=value)


@pytest.mark.parametrize("value", ["660", "0660", "0o660"])
def test_permissions_that_are_understood(value: str) -> None:
    assert Config(uds="path", uds_permissions=value).uds_permissions == "660"


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({"worker": 2}, "pyproject.toml: 'worker' is not an option; did you mean 'workers'?"),
        ({"loglevel": "info"}, "pyproject.toml: 'loglevel' is not an option; use log-level"),
        ({"zzz": 1}, "pyproject.toml: 'zzz' is not an option"),
    ],
)
def test_an_unknown_key_is_an_error_that_names_the_nearest(file: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_sources({}, {}, file, "pyproject.toml")
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("together", "message"),
    [
        ({"uds": "path", "fd": 3}, "uds and fd exclude each other"),
        ({"uds": "path", "socket": "reuseport"}, "socket reuseport needs a host and port"),
        ({"fd": 3, "socket": "reuseport"}, "socket reuseport needs a host and port"),
        ({"supervise": False, "workers": 2}, "workers 2 need a supervisor"),
        ({"supervise": False, "workers": "auto"}, "workers auto need a supervisor"),
    ],
)
def test_what_cannot_go_together_is_an_error(together: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        Config(**together)


@pytest.mark.parametrize("value", ["1", "9999", "auto", "AUTO", "auto-1", "auto-15", "auto/2", " 4 ", 4])
def test_workers_that_are_understood(value: str | int) -> None:
    assert Config(workers=value).workers == str(value).strip().lower()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value", ["0", "-1", "00", "01", "10000", "auto/0", "auto-", "auto+1", "2.0", "", True, 2.0, None]
)
def test_workers_that_are_not_understood(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^workers: .* auto/2"):
        Config(workers=value)


@pytest.mark.parametrize("value", ["nan", "inf", "1e9", "five", True, None, b"1"])
def test_seconds_that_are_not_understood(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^timeout_keep_alive: "):
        Config(timeout_keep_alive=value)


@pytest.mark.parametrize("value", [True, 1.5, "0x50", "eighty", None])
def test_ports_that_are_not_understood(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^port: "):
        Config(port=value)


@pytest.mark.parametrize(
    "given",
    [
        "X-One: 1\nX-Two:2",
        ["X-One: 1", "X-Two:2"],
        ("X-One:1", "X-Two: 2 "),
        [("X-One", "1"), ("X-Two", "2")],
        [(b"X-One", b"1"), [b"X-Two", b"2"]],
    ],
)
def test_headers_come_in_several_forms(given: Any) -> None:
    assert Config(header=given).header == ((b"X-One", b"1"), (b"X-Two", b"2"))


def test_a_header_may_have_a_colon_in_its_value() -> None:
    assert Config(header=["link: <https://a.example>"]).header == ((b"link", b"<https://a.example>"),)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [["a"], [": b"], [("a", "b\r\nc: d")], [("a", "\u20ac")], 5, [5], [("a",)]])
def test_headers_that_are_not_understood(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"^header: "):
        Config(header=given)


def test_an_application_object_is_taken_as_it_is() -> None:
    async def app(scope: object, receive: object, send: object) -> None: ...

    assert Config(app=app).app is app


def test_a_config_survives_the_way_to_a_worker() -> None:
    config = Config(app="main:app", workers="auto", header=((b"a", b"b"),), fd=5, factory=True)
    assert Config(**dataclasses.asdict(config)) == config


def test_an_option_that_does_not_exist_is_refused_by_python() -> None:
    with pytest.raises(TypeError, match="no_such_option"):
        Config(no_such_option=1)  # type: ignore[call-arg]


def test_each_option_has_a_help_that_is_a_sentence() -> None:
    assert [entry.name for entry in options() if not entry.help.endswith(".")] == []


def test_the_table_has_a_row_for_every_option_in_their_order() -> None:
    rows = table().splitlines()[2:]
    named = [re.match(r"\| `(--[a-z-]+)", row) for row in rows]
    assert [match and match.group(1) for match in named] == [e.flag for e in options() if e.name != "app"]


def test_the_table_is_put_between_the_marks_and_nowhere_else() -> None:
    document = "before\n<!-- options -->\nold\n<!-- /options -->\nafter\n"
    assert with_table(document) == f"before\n<!-- options -->\n{table()}\n<!-- /options -->\nafter\n"
    assert with_table(with_table(document)) == with_table(document)
    with pytest.raises(ValueError, match="needs the marks"):
        with_table("no marks")


def test_the_options_in_the_readme_are_up_to_date() -> None:
    text = README.read_text()
    assert with_table(text) == text, "run: python -m tests.options_table README.md"


@pytest.mark.parametrize("variable", ["COREHTTP_PORT", "WEB_CONCURRENCY", "COREHTTP_UDS"])
def test_an_empty_variable_counts_as_not_set(variable: str) -> None:
    assert Config.from_sources({}, {variable: ""}, {}) == Config()


def test_an_empty_variable_is_text_where_empty_text_means_something() -> None:
    assert Config.from_sources({}, {"COREHTTP_HOST": ""}, {}).host == ""


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"limit_max_requests_jitter": 5}, "limit-max-requests-jitter needs limit-max-requests, to which it is added"),
        ({"worker_max_age_jitter": 5}, "worker-max-age-jitter needs worker-max-age, to which it is added"),
        ({"uds_permissions": "600"}, "uds-permissions needs uds"),
        ({"preload_strict": True}, "preload-strict needs preload"),
        (
            {"supervise": False, "preload": True},
            "preload needs a supervisor: leave it out, or have the command or corehttp.run.. serve an import string",
        ),
        ({"supervise": False, "worker_max_rss": "1G"}, "worker-max-rss needs a supervisor"),
        ({"app": print, "worker_max_age": 60}, "worker-max-age needs a supervisor"),
        ({"app": print, "workers": 2}, "workers 2 need a supervisor: use one worker, or have the command"),
    ],
)
def test_an_option_that_means_nothing_alone_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config(**wrong)


def test_limits_have_the_same_defaults_as_options_and_within_the_protocols() -> None:
    assert limits(Config()) == Limits()


def test_values_of_a_class_of_ones_own_become_plain_ones() -> None:
    """Only plain ones go through the channel to a worker."""

    class Text(str):
        __slots__ = ()

    lib: Any = Path("lib")
    path: Any = Path("a.sock")
    config = Config(app=Text("main:app"), host=Text("::1"), app_dir=lib, uds=path)
    assert (config.app, config.host, config.app_dir, config.uds) == ("main:app", "::1", "lib", "a.sock")
    assert {type(config.app), type(config.host), type(config.app_dir), type(config.uds)} == {str}


def test_an_unknown_keyword_is_an_error_that_says_what_to_use_instead() -> None:
    with pytest.raises(ConfigError, match=r"^'keepalive' is not an option; use timeout_keep_alive$"):
        Config.of({"app": "main:app", "keepalive": 5})
    assert Config.of({"app": "main:app", "port": "80"}) == Config(app="main:app", port=80)


def test_what_kubernetes_says_of_a_service_of_our_name_is_no_option() -> None:
    env = {"COREHTTP_PORT": "tcp://10.0.0.1:8000", "COREHTTP_HOST": "::"}
    assert Config.from_sources({}, env, {"port": 81}) == Config(port=81, host="::")
    with pytest.raises(ConfigError):
        Config.from_sources({}, {"COREHTTP_PORT": "http"}, {})
