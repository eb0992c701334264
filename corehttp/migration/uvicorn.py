"""The flags of uvicorn, in the order of its help, and what becomes of each one here. Pure."""

from corehttp.migration.flags import Flag, NoEqualError, Options, needless, switch, tls_version, value


def _deflate(given: str) -> Options:
    """Convert a truth value as click reads it; raises NoEqualError for any other."""
    word = given.strip().lower()
    if word in ("0", "false", "f", "no", "n", "off"):
        return {"ws_compression": "off"}
    if word in ("1", "true", "t", "yes", "y", "on"):
        return {"ws_compression": "small"}
    raise NoEqualError("its value is true or false")


FLAGS: tuple[Flag, ...] = (
    value("--host"),
    value("--port"),
    value("--uds", text="its mode is that of `--uds-permissions`"),
    value("--fd"),
    switch("--reload"),
    value("--reload-dir"),
    value("--reload-include"),
    value("--reload-exclude"),
    value("--reload-delay"),
    value("--workers", text="`auto` counts the CPUs; one worker has a supervisor, too"),
    value("--loop", text="`zuvloop` is taken as `auto`"),
    value("--http", text="`zttp` is taken as `auto`"),
    switch("--http2"),
    value("--ws", text="`auto`, `websockets`, `websockets-sansio` and `wsproto` are taken as `on`"),
    value("--ws-max-size"),
    value("--ws-max-queue"),
    value("--ws-ping-interval"),
    value("--ws-ping-timeout"),
    value(
        "--ws-per-message-deflate",
        convert=_deflate,
        text="understood: `--ws-compression small`, or `off`",
    ),
    value("--lifespan"),
    value("--interface", text="`auto` finds WSGI applications, too, which run in `--threads` of each worker"),
    value("--env-file", text="read again at a reload"),
    value("--log-config", text="for the application's logging, also `.toml`; read again at a reload (`docs/logs.md`)"),
    value(
        "--log-level",
        text="requests are logged at every level, unless `--no-access-log`; `trace` shows header fields by their names "
        "and sizes alone (`docs/logs.md`)",
    ),
    switch("--access-log", "--no-access-log"),
    switch("--use-colors", "--no-use-colors"),
    switch("--proxy-headers", "--no-proxy-headers", text="host, port and prefix are read, too (`docs/proxies.md`)"),
    switch("--server-header", "--no-server-header"),
    switch("--date-header", "--no-date-header"),
    value("--forwarded-allow-ips", text="the client is the right-most address that is not trusted, with `*` too"),
    value("--root-path"),
    value(
        "--limit-concurrency",
        text="it counts requests; `--limit-queue` lets some wait, `--limit-connections` counts connections",
    ),
    value("--backlog"),
    value("--limit-max-requests", text="the worker is replaced, and its successor serves first"),
    value("--limit-max-requests-jitter"),
    value("--timeout-keep-alive", text="75 seconds by default, not 5"),
    value("--timeout-graceful-shutdown", text="30 seconds by default, not unlimited"),
    value("--timeout-worker-healthcheck", text="30 seconds by default, not 5; it watches the event loop, not a thread"),
    value("--ssl-keyfile"),
    value("--ssl-certfile", text="watched, and read again when it changes (`docs/tls.md`)"),
    value("--ssl-keyfile-password"),
    value("--ssl-version", convert=tls_version, text="understood: `--ssl-min-version` bounds what is negotiated"),
    value("--ssl-cert-reqs", text="also `none`, `optional` and `required`"),
    value("--ssl-ca-certs"),
    value("--ssl-ciphers"),
    value("--header"),
    switch("--version"),
    value("--app-dir"),
    value(
        "--h11-max-incomplete-event-size",
        convert=lambda given: {"limit_request_head": given},
        text="understood: `--limit-request-head`, with either parser",
    ),
    switch(
        "--reset-contextvars",
        convert=needless,
        text="understood: each request begins in the worker's own context anyway",
    ),
    switch("--factory", text="it is needed: uvicorn calls a factory without it, too, and warns"),
    switch("--help"),
)
SILENT = ("warning", "error", "critical")  # the levels at which uvicorn logs no request
# Flags that are no options, and are understood on the command line all the same.
UNDERSTOOD = tuple(flag for flag in FLAGS if flag.convert is not None and not flag.has_option)
