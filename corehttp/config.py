"""Every option in one line: name, default, kind and help. Flag, environment name and file key follow from the name.

Pure: reads no file, no environment, no clock. `Config.from_sources` takes what others have read.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from corehttp.environment import variable, without_service_links
from corehttp.errors import ConfigError
from corehttp.option_kinds import (
    ANY_TEXT,
    DIRECTORY,
    FIELDS,
    FORWARDED,
    FORWARDED_FIELDS,
    LOG_LEVEL,
    MODE,
    OPEN_TO_ALL,
    PATHS,
    ROOT_PATH,
    SECONDS,
    SOCKET_PATH,
    SWITCH,
    TEXT,
    THIS_MACHINE,
    TRUST,
    WORKERS,
    Fields,
    Kind,
    choice,
    optional,
    size,
    whole,
)
from corehttp.unknown_options import suggest

# What other servers and platforms call some options in the environment; our own names win.
OTHER_NAMES = {"workers": "WEB_CONCURRENCY", "forwarded_allow_ips": "FORWARDED_ALLOW_IPS"}


class Option(NamedTuple):
    """One option, as the command line, the documentation and `Config` see it."""

    name: str
    default: object
    kind: Kind
    help: str

    @property
    def flag(self) -> str:
        """The flag on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def env(self) -> str:
        """The variable of the environment that is its own."""
        return variable(self.name)

    @property
    def variables(self) -> tuple[str, ...]:
        """Where the environment may have it; the first one that is set counts."""
        return (self.env, OTHER_NAMES[self.name]) if self.name in OTHER_NAMES else (self.env,)

    def is_set(self, text: str | None) -> bool:
        """Whether a variable says anything: an empty one does only where empty text means something."""
        return bool(text) or (text is not None and self.kind.takes_nothing)

    @property
    def value(self) -> str:
        """What to write behind the flag."""
        return "|".join(self.kind.choices) or self.name.upper()


def option(default: Any, kind: Kind, help: str) -> Any:
    """A field of Config that is an option."""
    return dataclasses.field(default=default, metadata={"kind": kind, "help": help})


@dataclass(frozen=True, slots=True)
class Config:
    """What to serve and how. Keyword arguments take the same values as the flags; raises ConfigError."""

    app: Any = option(None, optional(TEXT), "The application, MODULE:ATTRIBUTE; MODULE alone means MODULE:app.")
    factory: bool = option(False, SWITCH, "APP is a function that makes the application.")
    app_dir: str = option("", DIRECTORY, "Look for APP in this directory (default: the current one).")
    host: str = option("127.0.0.1", ANY_TEXT, "Bind to this address or name; empty for all addresses.")
    port: int = option(8000, whole(0, 65535), "Bind to this port; 0 picks a free one and prints it.")
    uds: str | None = option(None, optional(SOCKET_PATH), "Bind to a unix socket at this path instead.")
    uds_permissions: str = option(
        OPEN_TO_ALL, MODE, "Permissions of that socket's path, in octal; who may write may connect."
    )
    fd: int | None = option(None, optional(whole(0, 1048575)), "Serve on this inherited socket instead.")
    backlog: int = option(2048, whole(1, 65535), "Connections that may wait to be accepted.")
    limit_connections: int = option(
        0, whole(0, 1048575), "Open connections per worker, others wait; --socket auto is then shared; 0: no limit."
    )
    workers: str = option("1", WORKERS, "Worker processes; auto: one for each CPU that this process may use.")
    socket: str = option("auto", choice("auto", "reuseport", "shared"), "How workers share the port.")
    loop: str = option("auto", choice("auto", "uvloop", "asyncio"), "Event loop; auto: uvloop where it is installed.")
    http: str = option("auto", choice("auto", "httptools", "h11"), "HTTP parser; auto: httptools.")
    ws: str = option("on", choice("off", "on"), "WebSockets; off: an upgrade is answered as a plain request.")
    ws_max_size: int = option(16 * 2**20, size(1), "Bytes of a WebSocket message, else closed with 1009.")
    ws_max_queue: int = option(32, whole(1, 1048575), "Messages of a WebSocket that wait before reading pauses.")
    ws_write_high_water: int = option(
        65536, size(0), "Bytes that a WebSocket client has not taken before send() waits."
    )
    ws_ping_interval: float = option(20.0, SECONDS, "Seconds between pings to a WebSocket client; 0: none.")
    ws_ping_timeout: float = option(20.0, SECONDS, "Seconds it may take to answer one, else closed with 1011.")
    ws_compression: str = option(
        "small", choice("off", "small", "full"), "permessage-deflate; small: 4 KiB windows, nothing kept."
    )
    ws_compression_min_size: int = option(512, size(0), "Bytes of the smallest WebSocket message that is compressed.")
    limit_websockets: int = option(0, whole(0, 1048575), "Open WebSockets per worker, else 503; 0: no limit.")
    lifespan: str = option("auto", choice("auto", "on", "off"), "ASGI lifespan; auto: on if the application has it.")
    root_path: str = option("", ROOT_PATH, "Prefix under which a proxy serves the application (ASGI root_path).")
    pathsend: bool = option(
        False, SWITCH, "Offer http.response.pathsend and .zerocopysend: all middleware must pass them on."
    )
    early_hints: bool = option(False, SWITCH, "Send 103 (Early Hints); nginx before 1.29 hangs on them.")
    proxy_headers: bool = option(
        True,
        SWITCH,
        "Believe X-Forwarded-For, -Proto, -Host, -Port, -Prefix of trusted proxies, remove them of others.",
    )
    forwarded_allow_ips: str = option(
        THIS_MACHINE,
        TRUST,
        "Who is a trusted proxy: addresses, networks, unix, or * for everybody; also as FORWARDED_ALLOW_IPS.",
    )
    forwarded_fields: str = option(
        FORWARDED,
        FORWARDED_FIELDS,
        "Which fields a trusted proxy writes itself; what clients say in others is removed.",
    )
    timeout_keep_alive: float = option(75.0, SECONDS, "Seconds an idle connection stays open.")
    timeout_request_header: float = option(15.0, SECONDS, "Seconds for a whole request head, else 408; 0: no limit.")
    timeout_request_body: float = option(
        60.0, SECONDS, "Seconds a request's body may stall, or be below 240 bytes/s, else 408; 0: no limit."
    )
    timeout_write_stall: float = option(
        60.0, SECONDS, "Seconds a client may take none of its response, or below 240 bytes/s; 0: no limit."
    )
    timeout_request: float = option(
        0.0, SECONDS, "Seconds for a whole request, then it is cancelled, 504; 0: no limit."
    )
    limit_request_line: int = option(8192, size(64), "Bytes of a request line, else 414.")
    limit_request_fields: int = option(128, whole(1, 32768), "Header fields of a request, else 431.")
    limit_request_head: int = option(65536, size(64), "Bytes of a request's line and fields, else 431.")
    limit_request_body: int = option(0, size(0), "Bytes of a request's body, else 413; 0: no limit.")
    limit_concurrency: int = option(0, whole(0, 1048575), "Requests that run at once in a worker; 0: no limit.")
    limit_queue: int = option(0, whole(0, 1048575), "Requests that may wait for their turn in a worker, else 503.")
    limit_queue_timeout: float = option(2.0, SECONDS, "Seconds a request may wait in that queue, else 503.")
    limit_exempt: tuple[str, ...] = option(
        (), PATHS, "Path whose requests run at once whatever the limits; repeatable."
    )
    limit_max_requests: int = option(0, whole(0, 2**31), "Replace a worker that has begun so many requests; 0: never.")
    limit_max_requests_jitter: int = option(0, whole(0, 2**31), "Up to so many more, different for each worker.")
    worker_max_age: float = option(0.0, SECONDS, "Replace a worker that is so many seconds old; 0: never.")
    worker_max_age_jitter: float = option(0.0, SECONDS, "Up to so many seconds more, different for each worker.")
    worker_max_rss: int = option(0, size(0), "Replace a worker that holds so many bytes of memory; 0: never.")
    cancel_on_disconnect: bool = option(False, SWITCH, "Cancel the application when its client is gone.")
    timeout_graceful_shutdown: float = option(30.0, SECONDS, "Seconds that requests in flight may take at a stop.")
    timeout_lifespan_shutdown: float = option(10.0, SECONDS, "Seconds the application's lifespan shutdown may take.")
    timeout_exit: float = option(
        10.0, SECONDS, "Seconds that exit handlers and threads of the application may take after that."
    )
    shutdown_delay: float = option(
        0.0, SECONDS, "Seconds to serve on at a stop, closing connections, for load balancers to notice."
    )
    shutdown_idle_grace: float = option(
        1.0, SECONDS, "Seconds at a stop before an idle connection is closed, for a request that is on its way."
    )
    shutdown_stream_grace: float = option(
        5.0, SECONDS, "Seconds at a stop after which streams and long polls are told to end."
    )
    shutdown_ws_grace: float = option(2.0, SECONDS, "Seconds over which WebSockets are closed when a worker leaves.")
    timeout_worker_startup: float = option(60.0, SECONDS, "Seconds until a worker must be ready; 0: no limit.")
    timeout_worker_healthcheck: float = option(
        30.0, SECONDS, "Seconds that a worker's event loop may be blocked before it is replaced; 0: never."
    )
    blocked_warn: float = option(
        1.0, SECONDS, "Log what blocks an event loop for so many seconds, with its stack; 0: never."
    )
    reload_strategy: str = option(
        "start-first", choice("start-first", "stop-first"), "At a reload, which of two workers in a slot goes first."
    )
    reload_parallel: int = option(1, whole(1, 1024), "Workers that a reload replaces at once.")
    preload: bool = option(False, SWITCH, "Load the application once and fork the workers, to share memory.")
    preload_strict: bool = option(False, SWITCH, "Fail if that leaves threads, event loops or connections behind.")
    crash_loop_timeout: float = option(
        120.0, SECONDS, "Exit 4 when all workers keep dying for so many seconds; 0: never."
    )
    supervise: bool = option(True, SWITCH, "Supervise worker processes; off: serve in this process.")
    log_level: str = option("info", LOG_LEVEL, "Least level that is logged.")
    access_log: bool = option(True, SWITCH, "Log each request on standard output.")
    log_format: str = option("text", choice("text", "json"), "Form of the log lines.")
    header: Fields = option((), FIELDS, "Header NAME:VALUE for every response; may be repeated.")
    server_header: bool = option(True, SWITCH, "Send the Server header.")
    date_header: bool = option(True, SWITCH, "Send the Date header.")

    def __post_init__(self) -> None:
        for entry in options():
            value = getattr(self, entry.name)
            if entry.name != "app" or value is None or issubclass(type(value), str):
                object.__setattr__(self, entry.name, parse_value(entry, value, entry.name))
        self._check_together()

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """The configuration that a program gives as keyword arguments; raises ConfigError for an unknown one too."""
        known = names()
        for key in options:
            if key not in known:
                raise ConfigError(f"{key!r} is not an option{suggest(key, known, str)}")
        return cls(**options)

    @classmethod
    def from_sources(
        cls,
        flags: Mapping[str, object],
        env: Mapping[str, str],
        file: Mapping[str, object],
        file_name: str = "the configuration file",
    ) -> Self:
        """The configuration of a command: flags, then the environment, then the file, then the defaults.

        An empty variable counts as not set, except where empty text means something.
        """
        known = names()
        for key in file:
            if key.replace("-", "_") not in known:
                raise ConfigError(f"{file_name}: {key!r} is not an option{suggest(key, known, _key)}")
        env = without_service_links(env)
        keys = {key.replace("-", "_"): key for key in file}
        values: dict[str, Any] = {}
        for entry in options():
            if entry.name in flags:
                values[entry.name] = parse_value(entry, flags[entry.name], "APP" if entry.name == "app" else entry.flag)
            elif variable := next((name for name in entry.variables if entry.is_set(env.get(name))), None):
                values[entry.name] = parse_value(entry, env[variable], variable)
            elif entry.name in keys:
                source = f"{file_name}: {keys[entry.name]}"
                values[entry.name] = parse_value(entry, file[keys[entry.name]], source)
        return cls(**values)

    def _check_together(self) -> None:
        if self.uds is not None and self.fd is not None:
            raise ConfigError("uds and fd exclude each other: serve on a path or on an inherited socket")
        if self.uds is None and self.uds_permissions != OPEN_TO_ALL:
            raise ConfigError("uds-permissions needs uds, the path of the unix socket that gets them")
        if self.socket == "reuseport" and (self.uds is not None or self.fd is not None):
            raise ConfigError("socket reuseport needs a host and port; with uds or fd it must be shared")
        if not self.supervised and self.workers != "1":
            raise ConfigError(f"workers {self.workers} need a supervisor: use one worker, or {_SUPERVISION}")
        for limit, jitter in (
            ("limit_max_requests", "limit_max_requests_jitter"),
            ("worker_max_age", "worker_max_age_jitter"),
        ):
            if getattr(self, jitter) and not getattr(self, limit):
                raise ConfigError(f"{_key(jitter)} needs {_key(limit)}, to which it is added")
        if self.preload_strict and not self.preload:
            raise ConfigError("preload-strict needs preload")
        for entry in options():
            if not self.supervised and entry.name in _SUPERVISED and getattr(self, entry.name) != entry.default:
                raise ConfigError(f"{_key(entry.name)} needs a supervisor: leave it out, or {_SUPERVISION}")

    @property
    def supervised(self) -> bool:
        """Whether it is served by processes under a supervisor, which cannot be given an object."""
        return self.supervise and (self.app is None or issubclass(type(self.app), str))


_SUPERVISION = (
    "have the command or corehttp.run() serve an import string, such as 'main:app', and leave out --no-supervise"
)
# What only a supervisor can do.
_SUPERVISED = (
    *("limit_max_requests", "worker_max_age", "worker_max_rss", "preload"),
    *("timeout_worker_startup", "timeout_worker_healthcheck", "reload_strategy", "reload_parallel"),
)


def _key(name: str) -> str:
    return name.replace("_", "-")


def options() -> tuple[Option, ...]:
    """All options, in the order they are documented in."""
    return tuple(
        Option(field.name, field.default, field.metadata["kind"], field.metadata["help"])
        for field in dataclasses.fields(Config)
    )


def names() -> set[str]:
    """The names of all options, as keyword arguments have them."""
    return {field.name for field in dataclasses.fields(Config)}


def parse_value(entry: Option, value: object, source: str) -> object:
    """The value as `Config` holds it; raises ConfigError naming `source`, what was given and what is allowed."""
    try:
        return entry.kind.parse(value)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ConfigError(f"{source}: {value!r} is not valid; it must be {entry.kind.allowed}") from error
