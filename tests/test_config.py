"""Every option through every source, which source wins, and what is said about a wrong value."""

import dataclasses
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema  # type: ignore[import-untyped]
import pytest

from corehttp.config import Config, options
from corehttp.errors import ConfigError
from corehttp.option import Option
from corehttp.option_kinds import split_address
from corehttp.protocols.limits import Limits
from corehttp.worker.wiring import limits
from tests import options_schema
from tests.options_table import table, with_table

README = Path(__file__).parents[1] / "README.md"


class Sample(NamedTuple):
    text: str  # as on the command line or in the environment
    value: object  # as Config holds it
    other: str  # another right value
    wrong: object  # no value for it
    allowed: str  # what the message says is


STICKY_ALLOWED = (
    "ip, cookie, cookie:NAME, header:NAME or query:NAME (for several, give the option again, or one in each line)"
)
SECONDS = Sample("2.5", 2.5, "3", "-1", "a number of seconds, 0 or more")
ON = Sample("yes", True, "off", "perhaps", "true or false")
OFF = Sample("no", False, "on", "perhaps", "true or false")
ANY_TEXT = Sample("somewhere", "somewhere", "elsewhere", 5, "text")
COUNT = Sample("50", 50, "51", "-1", "a whole number from 0 to 2147483648")
SAMPLES = {
    "app": Sample("main:app", "main:app", "main:other", "", "some text"),
    "factory": ON,
    "env_file": Sample(".env", ".env", "prod.env", "", "a path"),
    "app_dir": Sample("lib", "lib", "src", 5, "a path"),
    "interface": Sample("wsgi", "wsgi", "asgi2", "cgi", "one of auto, asgi3, asgi2, wsgi"),
    "threads": Sample("4", 4, "8", "0", "a whole number from 1 to 1024"),
    "bind": Sample("[::1]:80", ("[::1]:80",), "unix:a", "80", "HOST:PORT, :PORT, [::]:PORT, unix:PATH"),
    "host": ANY_TEXT,
    "port": Sample("80", 80, "81", "65536", "a whole number from 0 to 65535"),
    "uds": Sample("path", "path", "other", "", "some text"),
    "uds_permissions": Sample("0660", "660", "600", "888", "three octal digits, as in 660"),
    "uds_owner": Sample("www:www", "www:www", ":33", "a b", "USER, USER:GROUP or :GROUP"),
    "fd": Sample("3", 3, "4", "-1", "a whole number from 0 to 1048575"),
    "backlog": Sample("10", 10, "11", "0", "a whole number from 1 to 65535"),
    "limit_connections": Sample("1000", 1000, "0", "-1", "a whole number from 0 to 1048575"),
    "ssl_certfile": Sample("c.pem", ("c.pem",), "d.pem", 5, "a path"),
    "ssl_keyfile": Sample("k.pem", ("k.pem",), "l.pem", 5, "a path"),
    "ssl_keyfile_password": Sample("sesame", "sesame", "s", 5, "text"),
    "ssl_ca_certs": Sample("ca.pem", "ca.pem", "da.pem", 5, "a path"),
    "ssl_cert_reqs": Sample("2", "required", "Optional", "3", "one of none, optional, required"),
    "ssl_crl": Sample("crl.pem", "crl.pem", "d.pem", 5, "a path"),
    "ssl_ciphers": Sample("ECDHE+AESGCM", "ECDHE+AESGCM", "AESGCM", 5, "text"),
    "ssl_min_version": Sample("1.3", "1.3", "1.2", "1.1", "one of 1.2, 1.3"),
    "ssl_handshake_timeout": SECONDS,
    "redirect_http": Sample(":80", (":80",), "unix:a", "80", "HOST:PORT, :PORT, [::]:PORT, unix:PATH"),
    "workers": Sample("auto/2", "auto/2", "3", "0", "a number from 1, auto"),
    "socket": Sample("Shared", "shared", "reuseport", "own", "one of auto, reuseport, shared"),
    "spread": Sample("Kernel", "kernel", "least", "most", "one of least, kernel"),
    "sticky": Sample("cookie:Sid", ("cookie:Sid",), "ip", "session", STICKY_ALLOWED),
    "rescue_after": SECONDS,
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
    "forwarded_hops": Sample("2", 2, "3", "33", "a whole number from 0 to 32"),
    "proxy_protocol": Sample("V2", "v2", "auto", "v3", "one of off, v1, v2, auto"),
    "proxy_allow_from": Sample("10.0.0.0/8,unix", "10.0.0.0/8,unix", "*", "10.0.0.1/8", "a list with commas of"),
    "proxy_protocol_timeout": SECONDS,
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
    "reload": ON,
    "reload_dir": Sample("src", ("src",), "lib", 5, "some text"),
    "reload_include": Sample("*.html", ("*.html",), "*.css", 5, "some text"),
    "reload_exclude": Sample("gen_*.py", ("gen_*.py",), "*.css", 5, "some text"),
    "reload_delay": SECONDS,
    "debug_exceptions": ON,
    "preload": ON,
    "preload_strict": ON,
    "crash_loop_timeout": SECONDS,
    "user": Sample("www-data", "www-data", "33", "a b", "a name or a number, as in www-data or 33"),
    "group": Sample("www-data", "www-data", "33", "a:b", "a name or a number, as in www-data or 33"),
    "umask": Sample("0o027", "027", "077", "27", "three octal digits, as in 027"),
    "chdir": Sample("srv", "srv", "/srv/shop", "", "a path"),
    "name": Sample("shop-1.eu", "shop-1.eu", "blog", "a/b", "a name of at most 64 letters"),
    "pid": Sample("shop.pid", "shop.pid", "/run/shop.pid", "", "a path"),
    "control": Sample("run/control.sock", "run/control.sock", "off", "", "a path, auto or off"),
    "control_group": Sample("ops:read", "ops:read", "ops", "ops:write", "the name or number of a group"),
    "admin": Sample("[::1]:9100", "[::1]:9100", "unix:/run/a", "9100", "HOST:PORT or unix:PATH, as in"),
    "admin_token": Sample("sesame-sesame", "sesame-sesame", "x" * 256 + "==", 5, "a secret of 8 to 256 letters"),
    "ready_min_workers": Sample("2", 2, "3", "0", "a whole number from 1 to 1024"),
    "prometheus_multiproc": Sample("/run/metrics", "/run/metrics", "/run/m", "metrics", "a path that begins with /"),
    "bus": Sample("redis://:p@cache:7/1", "redis://:p@cache:7/1", "unix:///run/redis.sock", 5, "redis://[[USER]:"),
    "supervise": OFF,
    "log_level": Sample("DEBUG", "debug", "error", "loud", "one of critical, error, warning, info, debug"),
    "access_log": OFF,
    "log_file": Sample("log/error.log", "log/error.log", "-", "", "a path, or - for the standard stream"),
    "access_log_file": Sample("log/access.log", "log/access.log", "-", "", "a path, or - for the standard stream"),
    "access_log_format": Sample('%(h)s "%(r)s" %(s)s', '%(h)s "%(r)s" %(s)s', "%(t)s", "%(x)s", "one line with atoms"),
    "log_max_size": Sample("100M", 100 * 2**20, "0", "-1", "a number of bytes from 0, as in 65536, 64K or 10M"),
    "log_keep": Sample("9", 9, "1", "0", "a whole number from 1 to 1000"),
    "log_config": Sample("log.ini", "log.ini", "log.json", "", "a path"),
    "use_colors": ON,
    "log_format": Sample("json", "json", "text", "xml", "one of text, json"),
    "header": Sample("X-One: 1", ((b"X-One", b"1"),), "x-two:2", "X One: 1", "NAME:VALUE"),
    "server_header": OFF,
    "date_header": OFF,
}
# What an option is not allowed without.
_TLS = {"ssl_certfile": ("c.pem",)}
_CLIENTS = {**_TLS, "ssl_ca_certs": "ca.pem"}
COMPANIONS: dict[str, dict[str, Any]] = {
    "ssl_keyfile": _TLS,
    "ssl_keyfile_password": _TLS,
    "ssl_ca_certs": _TLS,
    "ssl_cert_reqs": _CLIENTS,
    "ssl_crl": {**_CLIENTS, "ssl_cert_reqs": "required"},
    "ssl_ciphers": _TLS,
    "ssl_min_version": _TLS,
    "ssl_handshake_timeout": _TLS,
    "redirect_http": _TLS,
    "proxy_allow_from": {"proxy_protocol": "v1"},
    "proxy_protocol_timeout": {"proxy_protocol": "v1"},
    "group": {"user": "www"},
    "uds_permissions": {"uds": "path"},
    "uds_owner": {"uds": "path"},
    "limit_max_requests_jitter": {"limit_max_requests": 100},
    "worker_max_age_jitter": {"worker_max_age": 100.0},
    "preload_strict": {"preload": True},
    "log_max_size": {"log_file": "log/error.log"},
    "log_keep": {"log_file": "log/error.log", "log_max_size": 100},
    "control_group": {"control": "run/control.sock"},
    "admin_token": {"admin": "localhost:0"},
    "ready_min_workers": {"admin": "localhost:0"},
    "prometheus_multiproc": {"admin": "localhost:0"},
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


def test_of_the_environment_an_embedded_server_takes_the_trusted_proxies_alone() -> None:
    env = {"FORWARDED_ALLOW_IPS": "10.0.0.0/8", "WEB_CONCURRENCY": "2", "COREHTTP_PORT": "81"}
    assert Config.of({}, env) == Config(forwarded_allow_ips="10.0.0.0/8")
    assert Config.of({"forwarded_allow_ips": "unix"}, env) == Config(forwarded_allow_ips="unix")
    assert Config.of({}, {"FORWARDED_ALLOW_IPS": ""}).forwarded_allow_ips == ""
    with pytest.raises(ConfigError, match=r"^FORWARDED_ALLOW_IPS: 'proxy' is not valid"):
        Config.of({}, {"FORWARDED_ALLOW_IPS": "proxy"})
    assert Config.of({"forwarded_allow_ips": "unix"}, {"FORWARDED_ALLOW_IPS": "proxy"}).forwarded_allow_ips == "unix"


@pytest.mark.parametrize(
    "name", ["app_dir", "control", "env_file", "log_config", "log_file", "pid", "reload_dir", "reload_exclude", "uds"]
)
def test_no_path_has_a_null_character(name: str) -> None:
    path = "a\0b"
    with pytest.raises(ConfigError, match=r"'a\\x00b' is not valid"):
        Config.from_sources({}, {}, {name: [path] if name.startswith("reload") else path}, "corehttp.toml")


def test_of_a_list_the_first_element_that_is_wrong_is_shown() -> None:
    with pytest.raises(ConfigError, match=r"^--header: 'content-length:5' is not valid; it must be NAME:VALUE"):
        Config.from_sources({"header": ("a:b", "content-length:5", "c")}, {}, {})
    with pytest.raises(ConfigError, match=r"^COREHTTP_HEADER: 'c' is not valid"):
        Config.from_sources({}, {"COREHTTP_HEADER": "a:b\nc"}, {})
    with pytest.raises(ConfigError, match=r"^corehttp.toml: header: 5 is not valid"):
        Config.from_sources({}, {}, {"header": 5}, "corehttp.toml")
    with pytest.raises(ConfigError, match=r"^header: \('a b', 'c'\) is not valid"):
        Config.of({"header": [("a b", "c")]})


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
        ({"supervise": False, "admin": "localhost:0"}, "admin needs a supervisor"),
        ({"app": print, "admin": "localhost:0"}, "admin needs a supervisor"),
        ({"admin_token": "sesame-sesame"}, "admin-token needs admin, the address that it is for"),
        ({"prometheus_multiproc": "/run"}, "prometheus-multiproc needs admin, the address that it is for"),
        ({"ready_min_workers": 2}, "ready-min-workers needs admin, the address that it is for"),
        ({"proxy_allow_from": "*"}, "proxy-allow-from needs proxy-protocol, or a bind with ,proxy-protocol="),
        ({"proxy_protocol_timeout": 1}, "proxy-protocol-timeout needs proxy-protocol, or a bind with ,proxy-protocol="),
        (
            {"proxy_protocol": "auto", "debug_exceptions": True},
            "debug-exceptions and proxy-protocol exclude each other",
        ),
        ({"ssl_keyfile": "k.pem"}, "ssl-keyfile needs ssl-certfile, the certificate of the service"),
        ({"ssl_ciphers": "ALL"}, "ssl-ciphers needs ssl-certfile"),
        ({**_TLS, "ssl_keyfile": ("k.pem", "l.pem")}, "ssl-keyfile is given 2 times and ssl-certfile 1 times: give"),
        ({**_TLS, "ssl_crl": "crl.pem"}, "ssl-crl needs ssl-cert-reqs optional or required"),
        ({**_TLS, "ssl_cert_reqs": 1}, "ssl-cert-reqs optional needs ssl-ca-certs, a file of the authorities"),
        ({"redirect_http": ":80"}, "redirect-http needs ssl-certfile"),
        ({**_TLS, "bind": ":443", "redirect_http": "[::]:443"}, r"bind: :443 and \[::\]:443 are the same"),
        ({**_TLS, "bind": ":443", "redirect_http": ":443"}, "bind: .*; give redirect-http an address of its own"),
        ({**_TLS, "redirect_http": (":80", ":80")}, "redirect-http: :80 and :80 are the same; give it once"),
        ({**_TLS, "redirect_http": ":80+{worker}"}, r"redirect_http: .* is not valid; it must be HOST:PORT, "),
        (
            {**_TLS, "host": "::1", "port": 80, "redirect_http": "[::1]:80"},
            r"redirect-http: the service speaks TLS on \[::1\]:80; give it an address of its own",
        ),
        ({**_TLS, "bind": "127.0.0.1:80", "redirect_http": ":80"}, "redirect-http: the service speaks TLS on :80; "),
        (
            {**_TLS, "bind": ":443", "redirect_http": "127.0.0.1:443"},
            "redirect-http: the service speaks TLS on 127.0.0.1:443; ",
        ),
        (
            {**_TLS, "bind": "0.0.0.0:443", "redirect_http": "127.0.0.1:443"},
            "redirect-http: the service speaks TLS on 127.0.0.1:443",
        ),
        ({**_TLS, "uds": "a", "redirect_http": "unix:a"}, "redirect-http: the service speaks TLS on unix:a; "),
        ({**_TLS, "ssl_handshake_timeout": 0}, "ssl-handshake-timeout: 0 is too short"),
        ({**_TLS, "sticky": ("ip", "header:x-session")}, "sticky header:x-session excludes ssl-certfile"),
    ],
)
def test_what_cannot_go_together_is_an_error(together: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        Config(**together)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("127.0.0.1:9100", ("127.0.0.1", 9100)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:9100", ("::1", 9100)),
        ("shop.internal:65535", ("shop.internal", 65535)),
        ("unix:run/admin.sock", "run/admin.sock"),
    ],
)
def test_addresses_of_the_admin_listener_that_are_understood(value: str, place: tuple[str, int] | str) -> None:
    assert split_address(str(Config(admin=value).admin)) == place


@pytest.mark.parametrize(
    "value",
    ["", ":9100", "9100", "localhost", "localhost:", "localhost:x", "a:65536", "::1:9100", "[]:1", "unix:", 9100],
)
def test_addresses_of_the_admin_listener_that_are_not_understood(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^admin: .* must be HOST:PORT or unix:PATH"):
        Config(admin=value)


@pytest.mark.parametrize("value", ["short", "with spaces in it", "ümläute-ümläute", "x" * 257])
def test_a_secret_that_is_not_understood_is_not_shown(value: str) -> None:
    with pytest.raises(ConfigError, match=r"^admin_token: what is given is not valid; it must be a secret") as caught:
        Config(admin="localhost:0", admin_token=value)
    assert value not in str(caught.value)


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


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Connection", "Keep-Alive", "upgrade"])
def test_what_frames_a_response_is_no_header_for_every_response(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^header: .* none of .*{name.lower()}"):
        Config(header=[f"{name}: 5"])  # type: ignore[arg-type]


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
        ({"uds_owner": "www"}, "uds-owner needs uds"),
        ({"group": "www"}, "group needs user, whose processes get it"),
        ({"bind": ":80", "uds_owner": "www"}, "uds-owner needs uds"),
        ({"bind": ":80", "host": "::"}, "bind and host exclude each other: give host as --bind HOST:PORT"),
        ({"bind": ":80", "port": 81}, "bind and port exclude each other: give port as --bind HOST:PORT"),
        ({"bind": ":80", "uds": "a"}, "bind and uds exclude each other: give uds as --bind unix:PATH"),
        ({"bind": ":80", "fd": 3}, "bind and fd exclude each other: give fd as --bind fd://N"),
        ({"bind": ["unix:a", "unix:a"]}, "bind: unix:a and unix:a are the same; give it once"),
        ({"bind": [":80", "[::]:80"]}, r"bind: :80 and \[::\]:80 are the same; give it once"),
        ({"bind": ["systemd:", "systemd:web"]}, "bind: systemd: means all sockets of systemd; leave out the others"),
        ({"bind": ["unix:a", "fd://3"], "socket": "reuseport"}, "socket reuseport needs a host and port"),
        ({"preload_strict": True}, "preload-strict needs preload"),
        ({"reload": True, "preload": True}, "reload and preload exclude each other"),
        ({"reload": True, "supervise": False}, "reload needs a supervisor: leave it out, or have the command"),
        ({"reload": True, "app": print}, "reload needs a supervisor: .* an import string, such as 'main:app'"),
        ({"debug_exceptions": True, "host": "0.0.0.0"}, "debug-exceptions shows source code: it needs host 127.0.0.1"),
        ({"debug_exceptions": True, "host": ""}, "debug-exceptions shows source code"),
        ({"debug_exceptions": True, "host": "127.example.org"}, "debug-exceptions shows source code"),
        ({"debug_exceptions": True, "uds": "/run/a"}, "debug-exceptions shows source code"),
        ({"debug_exceptions": True, "bind": ["127.0.0.1:80", "0.0.0.0:80"]}, "debug-exceptions shows source code"),
        ({"debug_exceptions": True, "bind": ["unix:/run/a"]}, "debug-exceptions shows source code"),
        ({"debug_exceptions": True, "fd": 3}, "debug-exceptions shows source code"),
        ({"debug_exceptions": True, "forwarded_allow_ips": "10.0.0.0/8"}, "debug-exceptions needs forwarded-allow-ips"),
        ({"rescue_after": 0.2}, "rescue-after: 0.2 is too short; it must be at least 0.5, or 0"),
        ({"supervise": False, "spread": "kernel"}, "spread needs a supervisor"),
        ({"app": print, "rescue_after": 1.0}, "rescue-after needs a supervisor"),
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


def test_a_path_of_pathlib_is_one_file_of_those_that_can_be_repeated() -> None:
    certificate: Any = Path("tls.crt")
    keys: Any = [Path("tls.key")]
    config = Config(app="main:app", ssl_certfile=certificate, ssl_keyfile=keys)
    assert (config.ssl_certfile, config.ssl_keyfile) == (("tls.crt",), ("tls.key",))


def test_an_unknown_keyword_is_an_error_that_says_what_to_use_instead() -> None:
    with pytest.raises(ConfigError, match=r"^'keepalive' is not an option; use timeout_keep_alive$"):
        Config.of({"app": "main:app", "keepalive": 5})
    assert Config.of({"app": "main:app", "port": "80"}) == Config(app="main:app", port=80)


def test_what_kubernetes_says_of_a_service_of_our_name_is_no_option() -> None:
    env = {"COREHTTP_PORT": "tcp://10.0.0.1:8000", "COREHTTP_HOST": "::"}
    assert Config.from_sources({}, env, {"port": 81}) == Config(port=81, host="::")
    with pytest.raises(ConfigError):
        Config.from_sources({}, {"COREHTTP_PORT": "http"}, {})


# The schema for editors.


def test_the_schema_is_that_of_the_present_options() -> None:
    written = (README.parent / "docs" / "corehttp.schema.json").read_text()
    assert written == options_schema.text(), "run: python -m tests.options_schema docs/corehttp.schema.json"


@EACH
def test_the_schema_takes_what_a_file_may_say_and_nothing_else(name: str) -> None:
    schema = jsonschema.Draft7Validator(options_schema.schema())
    value = SAMPLES[name].value
    if name == "header":
        value = SAMPLES[name].text.splitlines()
    elif isinstance(value, tuple):
        value = list(value)
    for spelt in (name, name.replace("_", "-")):
        assert schema.is_valid({spelt: value})
        assert schema.is_valid({spelt: {}}) is (name == "log_config")
        assert not schema.is_valid({spelt: [{}]})
    assert not schema.is_valid({f"{name}x": value})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_tracebacks_may_be_shown_on_this_machine(host: str) -> None:
    assert Config(app="main:app", host=host, debug_exceptions=True).debug_exceptions
    bracketed = f"[{host}]" if ":" in host else host
    assert Config(app="main:app", bind=(f"{bracketed}:80",), debug_exceptions=True).debug_exceptions
    assert Config(app="main:app", host=host, debug_exceptions=True, forwarded_allow_ips="*").debug_exceptions


def test_whether_clients_show_a_certificate_may_be_a_number_as_the_module_ssl_has_it() -> None:
    tls: dict[str, Any] = {"ssl_certfile": ("c.pem",), "ssl_ca_certs": "ca.pem"}
    assert Config(**tls, ssl_cert_reqs=ssl.CERT_REQUIRED).ssl_cert_reqs == "required"  # type: ignore[arg-type]
    assert Config(ssl_certfile="c.pem", ssl_cert_reqs=0).ssl_cert_reqs == "none"  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"^ssl_cert_reqs: True is not valid"):
        Config(**tls, ssl_cert_reqs=True)  # type: ignore[arg-type]
