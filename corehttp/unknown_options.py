"""What to say of an option that does not exist: its name here if it is one of uvicorn's, gunicorn's or PM2's, or close.

Pure. Each line of the table is an option of theirs, without dashes in front, and what to use instead.
"""

import re
from collections.abc import Callable, Collection

_TLS = "TLS is for the proxy in front (docs/proxies.md)"
_RELOAD = "files are not watched; in development run: watchfiles 'corehttp main:app' ."
_LOGS = "requests are logged on standard output and everything else on standard error, to be redirected"
_FORMAT = "--log-format is text or json"
_LOGGING = "corehttp configures no logging but its own; configure yours in the application"
_SERVICE = "it is for what starts corehttp: a service manager, a container, the shell"
_HTTP2 = "HTTP/2 is not spoken; a proxy in front does"
_HTTP = "HTTP is read as RFC 9112 says, and nothing else is accepted"
_HOOK = "there are no hooks; use the application's lifespan"
_WSGI = "only ASGI applications are served; wrap a WSGI one (a2wsgi, asgiref)"
_PATHS = "there is no PROXY protocol or uwsgi; X-Forwarded fields are taken over HTTP"
_STATSD = "there are no statsd metrics"
_DIRTY = "there are no dirty workers; run such work in a process of its own"
_PASTE = "there is no PasteDeploy; name the application as MODULE:ATTRIBUTE"
_TABLE = "in corehttp.toml options stand at the top, in no table; only pyproject.toml has [tool.corehttp]"
_NONE = "there is none, and none is needed"

_SHORT = {
    "b": "bind",
    "c": "config",
    "D": "daemon",
    "e": "env",
    "g": "group",
    "i": "instances",
    "k": "worker-class",
    "m": "umask",
    "n": "name",
    "o": "output",
    "p": "pid",
    "R": "enable-stdio-inheritance",
    "t": "timeout",
    "u": "user",
    "v": "version",
    "w": "workers",
}
_INSTEAD = {
    # uvicorn
    "env-file": "environment files are not read; have the shell or the service manager do it",
    "h11-max-incomplete-event-size": "use --limit-request-head",
    "headers": "use --header",
    "http2": _HTTP2,
    "interface": _WSGI,
    "log-config": _LOGGING,
    "reload": _RELOAD,
    "reload-delay": _RELOAD,
    "reload-dir": _RELOAD,
    "reload-dirs": _RELOAD,
    "reload-exclude": _RELOAD,
    "reload-excludes": _RELOAD,
    "reload-include": _RELOAD,
    "reload-includes": _RELOAD,
    "reset-contextvars": "each request begins in the worker's own context anyway",
    "ssl-ca-certs": _TLS,
    "ssl-cert-reqs": _TLS,
    "ssl-certfile": _TLS,
    "ssl-ciphers": _TLS,
    "ssl-context-factory": _TLS,
    "ssl-keyfile": _TLS,
    "ssl-keyfile-password": _TLS,
    "ssl-version": _TLS,
    "use-colors": "a terminal gets colours, nothing else does",
    "no-use-colors": "a terminal gets colours, nothing else does",
    "ws-per-message-deflate": "use --ws-compression",
    # PM2
    "combine-logs": _LOGS,
    "cron": "use --worker-max-age, for an age instead of a time of day",
    "cron-restart": "use --worker-max-age, for an age instead of a time of day",
    "error": _LOGS,
    "exp-backoff-restart-delay": "a worker that keeps dying is replaced after 0.5, 1, 2 ... 30 s",
    "restart-delay": "a worker that keeps dying is replaced after 0.5, 1, 2 ... 30 s",
    "ignore-watch": _RELOAD,
    "watch": _RELOAD,
    "watch-delay": _RELOAD,
    "instances": "use --workers",
    "interpreter": "install corehttp in the environment of the interpreter that is to run it",
    "kill-timeout": "use --timeout-graceful-shutdown",
    "listen-timeout": "use --timeout-worker-startup",
    "log": _LOGS,
    "log-date-format": _FORMAT,
    "log-type": _FORMAT,
    "max-memory-restart": "use --worker-max-rss",
    "max-restarts": "use --crash-loop-timeout",
    "merge-logs": _LOGS,
    "min-uptime": "use --crash-loop-timeout",
    "no-autorestart": "a worker that ends is always replaced",
    "no-daemon": "corehttp stays in the foreground anyway",
    "output": _LOGS,
    "time": "each log line has its time anyway",
    "wait-ready": "the lifespan start-up says when a worker is ready",
    # headings of corehttp.toml
    "corehttp": _TABLE,
    "tool": _TABLE,
    # gunicorn
    "access-logfile": _LOGS,
    "accesslog": _LOGS,
    "access-logformat": _FORMAT,
    "access-log-format": _FORMAT,
    "asgi-disconnect-grace-period": "use --cancel-on-disconnect, or receive() in the application",
    "asgi-lifespan": "use --lifespan",
    "asgi-loop": "use --loop",
    "bind": "use --host and --port, --uds or --fd",
    "ca-certs": _TLS,
    "capture-output": "what the application prints is left alone",
    "casefold-http-method": _HTTP,
    "cert-reqs": _TLS,
    "certfile": _TLS,
    "chdir": "use --app-dir for the application's directory",
    "check-config": "a wrong option ends every start with code 2",
    "ciphers": _TLS,
    "config": "options are read from corehttp.toml or [tool.corehttp] in pyproject.toml, in the current directory",
    "control-socket": "send signals to the supervisor instead: HUP, TTIN, TTOU, USR2, TERM",
    "control-socket-disable": _NONE,
    "control-socket-mode": _NONE,
    "no-control-socket": _NONE,
    "daemon": _SERVICE,
    "default-proc-name": _SERVICE,
    "dirty-app": _DIRTY,
    "dirty-apps": _DIRTY,
    "dirty-graceful-timeout": _DIRTY,
    "dirty-post-fork": _DIRTY,
    "dirty-threads": _DIRTY,
    "dirty-timeout": _DIRTY,
    "dirty-worker-exit": _DIRTY,
    "dirty-worker-init": _DIRTY,
    "dirty-workers": _DIRTY,
    "on-dirty-starting": _DIRTY,
    "disable-redirect-access-to-syslog": _LOGS,
    "do-handshake-on-connect": _TLS,
    "dogstatsd-tags": _STATSD,
    "enable-backlog-metric": _STATSD,
    "statsd-host": _STATSD,
    "statsd-prefix": _STATSD,
    "enable-stdio-inheritance": "workers inherit standard output and standard error anyway",
    "env": _SERVICE,
    "raw-env": _SERVICE,
    "error-logfile": _LOGS,
    "errorlog": _LOGS,
    "log-file": _LOGS,
    "loglevel": "use --log-level",
    "forwarder-headers": _HTTP,
    "header-map": _HTTP,
    "graceful-timeout": "use --timeout-graceful-shutdown",
    "group": _SERVICE,
    "initgroups": _SERVICE,
    "user": _SERVICE,
    "umask": _SERVICE,
    "http-parser": "use --http",
    "http-protocols": _HTTP2,
    "http2-cleartext": _HTTP2,
    "http2-initial-window-size": _HTTP2,
    "http2-max-concurrent-streams": _HTTP2,
    "http2-max-frame-size": _HTTP2,
    "http2-max-header-list-size": _HTTP2,
    "keep-alive": "use --timeout-keep-alive",
    "keepalive": "use --timeout-keep-alive",
    "keyfile": _TLS,
    "limit-request-field-size": "use --limit-request-head, for all fields together",
    "log-config-json": _LOGGING,
    "logconfig": _LOGGING,
    "logconfig-dict": _LOGGING,
    "logconfig-json": _LOGGING,
    "logger-class": _LOGGING,
    "log-syslog": _LOGS,
    "log-syslog-facility": _LOGS,
    "log-syslog-prefix": _LOGS,
    "log-syslog-to": _LOGS,
    "syslog": _LOGS,
    "syslog-addr": _LOGS,
    "syslog-facility": _LOGS,
    "syslog-prefix": _LOGS,
    "max-requests": "use --limit-max-requests",
    "max-requests-jitter": "use --limit-max-requests-jitter",
    "name": _SERVICE,
    "proc-name": _SERVICE,
    "sendfile": _NONE,
    "no-sendfile": _NONE,
    "paste": _PASTE,
    "paster": _PASTE,
    "paste-global": _PASTE,
    "raw-paste-global-conf": _PASTE,
    "permit-obsolete-folding": _HTTP,
    "permit-unconventional-http-method": _HTTP,
    "permit-unconventional-http-version": _HTTP,
    "strip-header-spaces": _HTTP,
    "pid": "there is no pid file; the log's first line names the supervisor's pid",
    "pidfile": "there is no pid file; the log's first line names the supervisor's pid",
    "preload-app": "use --preload",
    "print-config": "the values are those given, and the defaults that --help shows",
    "protocol": _PATHS,
    "proxy-allow-from": _PATHS,
    "proxy-allow-ips": _PATHS,
    "proxy-protocol": _PATHS,
    "uwsgi-allow-from": _PATHS,
    "uwsgi-allow-ips": _PATHS,
    "pythonpath": "use --app-dir, or PYTHONPATH in the environment",
    "reload-engine": _RELOAD,
    "reload-extra-file": _RELOAD,
    "reload-extra-files": _RELOAD,
    "reuse-port": "use --socket reuseport",
    "secure-scheme-headers": "use --proxy-headers",
    "spew": "there is no tracing; kill -USR2 has a worker print its stacks",
    "ssl-context": _TLS,
    "suppress-ragged-eofs": _TLS,
    "threads": "an ASGI application runs in one thread for each worker; use --workers",
    "timeout": "use --timeout-worker-healthcheck for a blocked event loop, --timeout-request for a request",
    "tmp-upload-dir": _NONE,
    "websocket-max-message-size": "use --ws-max-size",
    "worker-class": "every worker runs an event loop; leave it out, see --loop",
    "worker-connections": "use --limit-connections",
    "worker-tmp-dir": _NONE,
    "wsgi-app": "name the application as the first argument, MODULE:ATTRIBUTE",
    **dict.fromkeys(
        (
            *("child-exit", "nworkers-changed", "on-exit", "on-reload", "on-starting", "post-fork", "post-request"),
            *("post-worker-init", "pre-exec", "pre-fork", "pre-request", "when-ready", "worker-abort", "worker-exit"),
            "worker-int",
        ),
        _HOOK,
    ),
}


def instead(name: str) -> str:
    """What to use instead of a flag or keyword of uvicorn's, gunicorn's or PM2's; empty for any other name."""
    if name[:1] == "-" and name[1:] in _SHORT:
        long = _SHORT[name[1:]]
        return _INSTEAD.get(long, f"use --{long}")
    return _INSTEAD.get(name.lstrip("-").replace("_", "-"), "")


def suggest(key: str, known: Collection[str], spell: Callable[[str], str]) -> str:
    """What to put behind "... is not an option" for a key, keyword or variable, whose options are `known`.

    `spell` turns the name of an option into what is written there.
    """
    from difflib import get_close_matches  # here, since only a mistake needs it

    if text := instead(key):
        return "; " + re.sub(r"--([a-z-]*[a-z])", lambda flag: spell(flag[1].replace("-", "_")), text)
    close = get_close_matches(key.lower().replace("-", "_"), known, 1)
    return f"; did you mean {spell(close[0])!r}?" if close else ""
