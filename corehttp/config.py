"""Every option in one line: name, default, kind and help. Flag, environment name and file key follow from the name.

The module is pure: it reads no file, no environment and no clock. `Config.from_sources` takes what others have read.
"""

import functools
from typing import Any

from corehttp.bind_option import BIND, OWNER, PLAIN_BIND
from corehttp.bus_url import BUS
from corehttp.log_config_option import LOG_CONFIG
from corehttp.option import Option, option, options_of, parse_value
from corehttp.option_conflicts import check_together
from corehttp.option_kinds import (
    ACCESS_FORMAT,
    ACCOUNT,
    ADDRESS,
    ANY_TEXT,
    COLOURS,
    CONTROL,
    DIRECTORY,
    FIELDS,
    FILE,
    FILES,
    GROUP,
    LOG_FILE,
    LOG_LEVEL,
    LOOP,
    MODE,
    NAME,
    OPEN_TO_ALL,
    PARSER,
    PATHS,
    ROOT_PATH,
    SECONDS,
    SOCKET_PATH,
    SWITCH,
    TEXT,
    TEXTS,
    TOKEN,
    UMASK,
    WEBSOCKETS,
    WHOLE_PATH,
    WORKERS,
    Fields,
    choice,
    optional,
    size,
    whole,
)
from corehttp.protocols.field_names import HOPS, PROXY_FIELDS
from corehttp.proxy_options import FORWARDED_FIELDS, PROXY_PROTOCOL, THIS_MACHINE, TRUST
from corehttp.records import field_names, record, values
from corehttp.settled import Settled
from corehttp.sourced_options import SourcedOptions
from corehttp.sticky_option import STICKY
from corehttp.tls_options import CERT_REQS, PASSWORD


@record
class Config(Settled, SourcedOptions):
    """What to serve and how. Keyword arguments take the same values as the flags; raises ConfigError."""

    app: Any = option(None, optional(TEXT), "The application, MODULE:ATTRIBUTE; MODULE alone means MODULE:app.")
    factory: bool = option(False, SWITCH, "APP is a function that makes the application.")
    env_file: str | None = option(
        None,
        optional(FILE),
        "Set the variables in this file before APP is loaded, unless they are set (python-dotenv).",
    )
    app_dir: str = option("", DIRECTORY, "Look for APP in this directory (default: the current one).")
    interface: str = option(
        "auto", choice("auto", "asgi3", "asgi2", "wsgi"), "Interface of APP; auto: by what its call takes."
    )
    threads: int = option(10, whole(1, 1024), "Threads of a worker in which a WSGI application runs.")
    bind: tuple[str, ...] = option(
        (),
        BIND,
        "Serve here: HOST:PORT[+{worker}], [::]:PORT, unix:PATH, unix:@NAME, fd://N, systemd:NAME; repeatable.",
    )
    host: str = option("127.0.0.1", ANY_TEXT, "Bind to this address or name; empty for all addresses.")
    port: int = option(8000, whole(0, 65535), "Bind to this port; 0 picks a free one and prints it.")
    uds: str | None = option(None, optional(SOCKET_PATH), "Bind to a unix socket at this path instead.")
    uds_permissions: str = option(
        OPEN_TO_ALL, MODE, "Permissions of that socket's path, in octal; who may write may connect."
    )
    uds_owner: str = option(
        "", OWNER, "Owner of that socket's path, USER, USER:GROUP or :GROUP; default: who starts the service."
    )
    fd: int | None = option(None, optional(whole(0, 1048575)), "Serve on this inherited socket instead.")
    backlog: int = option(2048, whole(1, 65535), "Connections that may wait to be accepted.")
    limit_connections: int = option(
        0, whole(0, 1048575), "Open connections per worker, others wait; --socket auto is then shared; 0: no limit."
    )
    ssl_certfile: tuple[str, ...] = option(
        (), FILES, "Serve over TLS with the certificate in this file, with its chain, in PEM; repeatable (SNI)."
    )
    ssl_keyfile: tuple[str, ...] = option(
        (), FILES, "Private key of the certificate, if that is in another file; repeatable, in the same order."
    )
    ssl_keyfile_password: str | None = option(
        None, PASSWORD, "Password of encrypted private keys; better in COREHTTP_SSL_KEYFILE_PASSWORD."
    )
    ssl_ca_certs: str | None = option(
        None, optional(FILE), "File of the authorities that may have issued clients' certificates."
    )
    ssl_cert_reqs: str = option("none", CERT_REQS, "Whether clients have to show a certificate.")
    ssl_crl: str | None = option(None, optional(FILE), "File of clients' certificates that were revoked.")
    ssl_ciphers: str = option("", ANY_TEXT, "Cipher suites up to TLS 1.2, as OpenSSL lists them.")
    ssl_min_version: str = option("1.2", choice("1.2", "1.3"), "Least version of TLS.")
    ssl_handshake_timeout: float = option(10.0, SECONDS, "Seconds for a client's TLS handshake.")
    redirect_http: tuple[str, ...] = option(
        (), PLAIN_BIND, "Answer here, in cleartext, every request with 308 to the same URL with https; repeatable."
    )
    workers: str = option("1", WORKERS, "Worker processes; auto: one for each CPU that this process may use.")
    socket: str = option("auto", choice("auto", "reuseport", "shared"), "How workers share the port.")
    spread: str = option(
        "least",
        choice("least", "kernel"),
        "Who gets a new connection: the least loaded worker, or the kernel's pick.",
    )
    sticky: tuple[str, ...] = option(
        (),
        STICKY,
        "Serve requests with the same key in one worker: ip, cookie, cookie:NAME, header:NAME, query:NAME; repeatable.",
    )
    rescue_after: float = option(
        0.5, SECONDS, "Seconds that an event loop may be blocked before others accept who waits for it; 0: no limit."
    )
    loop: str = option("auto", LOOP, "Event loop; auto: uvloop where it is installed.")
    http: str = option("auto", PARSER, "HTTP parser; auto: httptools.")
    ws: str = option("on", WEBSOCKETS, "WebSockets; off: an upgrade is answered as a plain request.")
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
        PROXY_FIELDS,
        FORWARDED_FIELDS,
        "Which fields a trusted proxy writes itself, or forwarded (RFC 7239); what clients say in others is removed.",
    )
    forwarded_hops: int = option(
        0,
        whole(0, HOPS),
        "Trusted proxies in a row, each of which adds the client it has seen; 0: those with trusted addresses.",
    )
    proxy_protocol: str = option(
        "off",
        PROXY_PROTOCOL,
        "Connections begin with a PROXY header of this version; auto: either; for one bind ADDRESS,proxy-protocol=v2.",
    )
    proxy_allow_from: str = option(
        THIS_MACHINE,
        TRUST,
        "Who may send PROXY headers: addresses, networks, unix, or * for all; others are cut.",
    )
    proxy_protocol_timeout: float = option(5.0, SECONDS, "Seconds for a whole PROXY header; 0: no limit.")
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
    reload: bool = option(False, SWITCH, "Take new code at each change of a file (docs/development.md).")
    reload_dir: tuple[str, ...] = option(
        (), TEXTS, "Directory that is watched, not the current one and the application's; repeatable."
    )
    reload_include: tuple[str, ...] = option(
        (), TEXTS, "Files that count beside *.py, as in *.html; repeatable; a directory is watched."
    )
    reload_exclude: tuple[str, ...] = option(
        (), TEXTS, "Files or directories that do not count, beside .*, .py[cod], .sw.* and ~*; repeatable."
    )
    reload_delay: float = option(0.25, SECONDS, "Seconds between two looks for changes.")
    debug_exceptions: bool = option(
        False, SWITCH, "Answer with the traceback of an application's error; only on the loopback address."
    )
    preload: bool = option(False, SWITCH, "Load the application once and fork the workers, to share memory.")
    preload_strict: bool = option(False, SWITCH, "Fail if that leaves threads, event loops or connections behind.")
    crash_loop_timeout: float = option(
        120.0, SECONDS, "Exit 4 when all workers keep dying for so many seconds; 0: never."
    )
    user: str | None = option(
        None, optional(ACCOUNT), "Serve as this user, name or number; root binds before (docs/privileges.md)."
    )
    group: str | None = option(None, optional(ACCOUNT), "Group of that user's processes (default: the user's own).")
    umask: str | None = option(None, optional(UMASK), "Permissions that no file gets, in octal (default: inherited).")
    chdir: str | None = option(None, optional(FILE), "Start in this directory, where all relative paths begin.")
    name: str | None = option(None, optional(NAME), "What `corehttp list` calls it (default: its module and port).")
    pid: str | None = option(None, optional(FILE), "Write the process id of the service to this file while it runs.")
    control: str = option(
        "auto", CONTROL, "Path of the socket for `corehttp status` and others; auto: in a directory of the user's; off."
    )
    control_group: str = option("", GROUP, "Group that may use that socket too, if it has a path; GROUP:read: to look.")
    admin: str | None = option(
        None,
        optional(ADDRESS),
        "HOST:PORT or unix:PATH for probes, metrics and a dashboard, served beside the workers.",
    )
    admin_token: str | None = option(
        None,
        optional(TOKEN),
        "Secret with which other machines may see the dashboard, too; better in COREHTTP_ADMIN_TOKEN.",
    )
    ready_min_workers: int = option(1, whole(1, 1024), "Workers that must serve for /readyz of --admin to answer 200.")
    prometheus_multiproc: str | None = option(
        None, optional(WHOLE_PATH), "Directory for metrics of the application itself (prometheus_client), for --admin."
    )
    bus: str | None = option(
        None,
        optional(BUS),
        "Redis over which machines exchange messages, redis://HOST, rediss:// or unix://; better in COREHTTP_BUS.",
    )
    supervise: bool = option(True, SWITCH, "Supervise worker processes; off: serve in this process.")
    log_level: str = option("info", LOG_LEVEL, "Least level that is logged.")
    access_log: bool = option(True, SWITCH, "Log each request on standard output.")
    log_file: str | None = option(
        None, LOG_FILE, "Append the server's own log lines to this file, not to standard error."
    )
    access_log_file: str | None = option(
        None, LOG_FILE, "Append the line of each request to this file, not to standard output."
    )
    access_log_format: str = option(
        "", ACCESS_FORMAT, "Form of the line of each request, with gunicorn's atoms; empty: as log-format says."
    )
    log_max_size: int = option(0, size(0), "Rotate a log file that has so many bytes, to FILE.1, FILE.2 …; 0: never.")
    log_keep: int = option(5, whole(1, 1000), "How many rotated files are kept of each log file.")
    log_config: str | None = option(
        None, optional(LOG_CONFIG), "Configure the application's logging with this file: .ini, .json, .toml or .yaml."
    )
    use_colors: bool | None = option(None, COLOURS, "Colours in log lines on standard streams; default: in a terminal.")
    log_format: str = option("text", choice("text", "json"), "Form of the log lines.")
    header: Fields = option((), FIELDS, "Header NAME:VALUE for every response; may be repeated.")
    server_header: bool = option(True, SWITCH, "Send the Server header.")
    date_header: bool = option(True, SWITCH, "Send the Date header.")

    def __post_init__(self) -> None:
        for entry in options():
            value = getattr(self, entry.name)
            if entry.name != "app" or value is None or issubclass(type(value), str):
                object.__setattr__(self, entry.name, parse_value(entry, value, entry.name))
        check_together(values(self), {entry.name: entry.default for entry in options()}, supervised=self.supervised)


@functools.cache
def options() -> tuple[Option, ...]:
    """Return all options, in the order of the documentation."""
    return options_of(Config)


def names() -> set[str]:
    """Return the names of all options, as keyword arguments spell them."""
    return set(field_names(Config))
