"""The flags and settings of gunicorn, in the order of its help, and what becomes of each one here. Pure."""

import re

from corehttp.migration.flags import Flag, NoEqualError, Options, needless, switch, tls_version, value

_HOOKS = (
    "on_starting",
    "on_reload",
    "when_ready",
    "pre_fork",
    "post_fork",
    "post_worker_init",
    "worker_int",
    "worker_abort",
    "pre_exec",
    "pre_request",
    "post_request",
    "child_exit",
    "worker_exit",
    "nworkers_changed",
    "on_exit",
    "ssl_context",
    "on_dirty_starting",
    "dirty_post_fork",
    "dirty_worker_init",
    "dirty_worker_exit",
)


def _bind(given: str) -> Options:
    """Convert an address; where gunicorn has a default for the host or the port, that is written out."""
    if not given.startswith(("unix:", "fd://")):
        parts = re.fullmatch(r"(?:tcp://)?(\[[^\]]*\]|[^:]*)(?::([0-9]+|\$.+))?", given)
        if parts is None:
            raise NoEqualError("use HOST:PORT, unix:PATH or fd://N")
        given = f"{parts[1] or '0.0.0.0'}:{parts[2] or 8000}"
    return {"bind": given}


_PROXY_PROTOCOL = {
    **dict.fromkeys(("off", "false", "0", "none"), "off"),
    **dict.fromkeys(("auto", "true", "1", ""), "auto"),
    "v1": "v1",
    "v2": "v2",
}


def _proxy_protocol(given: str) -> Options:
    """Convert which versions are expected; a flag without a value means both."""
    if given.lower() not in _PROXY_PROTOCOL:
        raise NoEqualError("use --proxy-protocol off, v1, v2 or auto")
    return {"proxy_protocol": _PROXY_PROTOCOL[given.lower()]}


def _worker_class(given: str) -> Options:
    """Convert the class of workers: those of uvicorn, and the one for ASGI, need nothing."""
    name = given.rpartition(".")[2].lower()
    if "h11" in name:
        return {"http": "h11", "loop": "asyncio"}
    if name in ("asgi", "sync", "gthread") or "uvicorn" in name:
        return {}
    raise NoEqualError("every worker runs an event loop, and a WSGI application in --threads")


def _umask(given: str) -> Options:
    """Convert a umask, octal digits after a 0 or 0o, else a decimal number, as a settings file has it when read."""
    text = given.strip()
    digits = re.fullmatch("0o?([0-7]{1,4})", text, re.IGNORECASE)
    number = int(digits[1], 8) if digits else int(text) if re.fullmatch("[0-9]{1,3}", text) else -1
    if not 0 <= number <= 0o777:
        raise NoEqualError("use --umask with three octal digits, as in 027")
    return {"umask": f"{number:03o}"}


FLAGS: tuple[Flag, ...] = (
    value("--config", "-c", setting="config"),
    value(setting="wsgi_app", convert=lambda given: {"app": given}, text="the first argument"),
    value(
        "--bind",
        "-b",
        setting="bind",
        convert=_bind,
        text="the same, repeatable; a host or port that is left out is written out",
    ),
    value("--backlog", setting="backlog"),
    value("--workers", "-w", setting="workers", text="`auto` counts the CPUs"),
    value(
        "--worker-class",
        "-k",
        setting="worker_class",
        convert=_worker_class,
        text="nothing: every worker runs an event loop, and a WSGI application in threads; for `UvicornH11Worker` "
        "`--http h11 --loop asyncio`",
    ),
    value(
        "--threads", setting="threads", text="of a WSGI application; `--threads 1` for one that must not use several"
    ),
    value("--worker-connections", setting="worker_connections"),
    value("--max-requests", setting="max_requests", text="the successor serves first"),
    value("--max-requests-jitter", setting="max_requests_jitter"),
    value(
        "--timeout",
        "-t",
        setting="timeout",
        convert=lambda given: {"timeout_worker_healthcheck": given},
        text="`--timeout-worker-healthcheck`: an event loop that is blocked; `--timeout-request` bounds a request",
    ),
    value("--graceful-timeout", setting="graceful_timeout"),
    value("--keep-alive", setting="keepalive", text="75 seconds by default, not 2"),
    value("--limit-request-line", setting="limit_request_line", text="8192 by default"),
    value("--limit-request-fields", setting="limit_request_fields", text="128 by default"),
    value("--limit-request-field_size", setting="limit_request_field_size"),
    switch("--reload", setting="reload"),
    value("--reload-engine", setting="reload_engine"),
    value("--reload-extra-file", setting="reload_extra_files"),
    switch("--spew", setting="spew"),
    switch("--check-config", setting="check_config", convert=needless, text="the same"),
    switch("--print-config", setting="print_config", convert=needless, text="the same, as a `corehttp.toml`"),
    switch("--preload", setting="preload_app", text="a reload loads the code anew all the same"),
    switch("--no-sendfile", setting="sendfile", convert=needless, text="nothing"),
    switch(
        "--reuse-port", setting="reuse_port", convert=lambda given: {"socket": "reuseport"}, text="`--socket reuseport`"
    ),
    value("--chdir", setting="chdir", text="a relative path of any option begins there"),
    switch("--daemon", "-D", setting="daemon"),
    value("--env", "-e", setting="raw_env"),
    value("--pid", "-p", setting="pidfile"),
    value(
        "--worker-tmp-dir", setting="worker_tmp_dir", convert=needless, text="nothing: heartbeats are in shared memory"
    ),
    value("--user", "-u", setting="user", text="of the supervisor, too, which is no exception (docs/privileges.md)"),
    value("--group", "-g", setting="group", text="it needs `--user`, whose own group is the default"),
    value("--umask", "-m", setting="umask", convert=_umask, text="`--umask`, in octal; inherited by default, not 0"),
    switch(
        "--initgroups",
        setting="initgroups",
        convert=needless,
        text="nothing: the processes of `--user` have all groups of that user, and no others",
    ),
    value(setting="tmp_upload_dir", convert=needless, text="nothing: uploads go to the application as they come"),
    value(setting="secure_scheme_headers"),
    value("--forwarded-allow-ips", setting="forwarded_allow_ips", text="also `FORWARDED_ALLOW_IPS`"),
    value(
        "--access-logfile",
        setting="accesslog",
        text="without it requests are logged on standard output, unless `--no-access-log`",
    ),
    switch("--disable-redirect-access-to-syslog", setting="disable_redirect_access_to_syslog"),
    value("--access-logformat", setting="access_log_format", text="the same atoms"),
    value("--error-logfile", "--log-file", setting="errorlog"),
    value("--log-level", setting="loglevel"),
    switch("--capture-output", setting="capture_output"),
    value("--logger-class", setting="logger_class"),
    value("--log-config", setting="logconfig"),
    value(setting="logconfig_dict"),
    value("--log-config-json", setting="logconfig_json"),
    value("--log-syslog-to", setting="syslog_addr"),
    switch("--log-syslog", setting="syslog"),
    value("--log-syslog-prefix", setting="syslog_prefix"),
    value("--log-syslog-facility", setting="syslog_facility"),
    switch("--enable-stdio-inheritance", "-R", setting="enable_stdio_inheritance"),
    value("--statsd-host", setting="statsd_host"),
    value("--dogstatsd-tags", setting="dogstatsd_tags"),
    value("--statsd-prefix", setting="statsd_prefix"),
    switch("--enable-backlog-metric", setting="enable_backlog_metric"),
    value(
        "--name", "-n", setting="proc_name", text="what `corehttp list` calls the service; processes keep their titles"
    ),
    value(setting="default_proc_name"),
    value("--pythonpath", setting="pythonpath"),
    value("--paste", "--paster", setting="paste"),
    *(switch(setting=hook) for hook in _HOOKS),
    switch(
        "--proxy-protocol",
        setting="proxy_protocol",
        convert=_proxy_protocol,
        text="the same, `auto` if no value is given; each connection must have the header then",
        words=tuple(_PROXY_PROTOCOL),
    ),
    value("--proxy-allow-from", setting="proxy_allow_ips", text="peers on a unix socket are in the list as `unix`"),
    value("--protocol", setting="protocol"),
    value("--uwsgi-allow-from", setting="uwsgi_allow_ips"),
    value("--keyfile", setting="keyfile"),
    value("--certfile", setting="certfile"),
    value(
        "--ssl-version",
        setting="ssl_version",
        convert=tls_version,
        text="nothing: `--ssl-min-version` bounds what is negotiated",
    ),
    value("--cert-reqs", setting="cert_reqs"),
    value("--ca-certs", setting="ca_certs"),
    switch(
        "--suppress-ragged-eofs",
        setting="suppress_ragged_eofs",
        convert=needless,
        text="nothing: a client that ends without close_notify is taken as one that has left",
    ),
    switch(
        "--do-handshake-on-connect",
        setting="do_handshake_on_connect",
        convert=needless,
        text="nothing: a handshake never holds up other connections",
    ),
    value("--ciphers", setting="ciphers"),
    value("--http-protocols", setting="http_protocols"),
    value("--http2-cleartext", setting="http2_cleartext"),
    value("--http2-max-concurrent-streams", setting="http2_max_concurrent_streams"),
    value("--http2-initial-window-size", setting="http2_initial_window_size"),
    value("--http2-max-frame-size", setting="http2_max_frame_size"),
    value("--http2-max-header-list-size", setting="http2_max_header_list_size"),
    value("--paste-global", setting="raw_paste_global_conf"),
    switch("--permit-obsolete-folding", setting="permit_obsolete_folding"),
    switch("--strip-header-spaces", setting="strip_header_spaces"),
    switch("--permit-unconventional-http-method", setting="permit_unconventional_http_method"),
    switch("--permit-unconventional-http-version", setting="permit_unconventional_http_version"),
    switch("--casefold-http-method", setting="casefold_http_method"),
    value("--forwarder-headers", setting="forwarder_headers"),
    value("--header-map", setting="header_map"),
    value("--asgi-loop", setting="asgi_loop"),
    value("--asgi-lifespan", setting="asgi_lifespan"),
    value("--asgi-disconnect-grace-period", setting="asgi_disconnect_grace_period"),
    value("--websocket-max-message-size", setting="websocket_max_message_size"),
    value("--http-parser", setting="http_parser", text="`httptools` or `h11`"),
    value("--root-path", setting="root_path"),
    value("--dirty-app", setting="dirty_apps"),
    value("--dirty-workers", setting="dirty_workers"),
    value("--dirty-timeout", setting="dirty_timeout"),
    value("--dirty-threads", setting="dirty_threads"),
    value("--dirty-graceful-timeout", setting="dirty_graceful_timeout"),
    value("--control-socket", setting="control_socket"),
    value("--control-socket-mode", setting="control_socket_mode"),
    switch(
        "--no-control-socket",
        setting="control_socket_disable",
        convert=lambda given: {"control": "off"},
        text="`--control off`",
    ),
    switch("--version", "-v"),
    switch("--help", "-h"),
)
