"""Texts for an option that does not exist: what to use instead of another server's, or an option of a close name.

The module is pure. Each line of the table is an option of uvicorn, PM2 or gunicorn, without the dashes in front, and
what to use instead: a flag alone is one that takes the same values.
"""

import re
from collections.abc import Callable, Collection

_TLS_VERSION = "use --ssl-min-version; what client and server have in common is chosen"
_NO_CONTEXT = "name the files: --ssl-certfile, --ssl-keyfile (docs/tls.md)"
_ACCESS_FILE = "use --access-log-file for the lines of requests"
_LOG_FILE = "use --log-file for the server's lines, --access-log-file for those of requests"
_ONE_LOG = "all workers append to the same files"
_SYSLOG = "lines go to standard output and standard error, or to files: --log-file, --access-log-file"
_TIMES = "each line has its time in one form; in JSON it is that of RFC 3339"
_LOGGING = "configure logging in the application, or with --log-config FILE"
_SERVICE = "it is for what starts corehttp: a service manager, a container, the shell"
_HTTP2 = "HTTP/2 is not spoken; a proxy in front does"
_HTTP = "HTTP is read as RFC 9112 says, and nothing else is accepted"
_HOOK = "there are no hooks; use the application's lifespan"
_UWSGI = "there is no uwsgi; a proxy speaks HTTP with the service"
_STATSD = "there are no statsd metrics"
_DIRTY = "there are no dirty workers; run such work in a process of its own"
_PASTE = "there is no PasteDeploy; name the application as MODULE:ATTRIBUTE"
_TABLE = "in corehttp.toml options stand at the top, in no table; only pyproject.toml has [tool.corehttp]"
_COMMAND_LINE = "it is a flag of the command line alone"
_NONE = "there is none, and none is needed"

_SHORT = {
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
    "h11-max-incomplete-event-size": "--limit-request-head",
    "headers": "use --header",
    "http2": _HTTP2,
    "reload-dirs": "--reload-dir",
    "reload-excludes": "--reload-exclude",
    "reload-includes": "--reload-include",
    "reset-contextvars": "each request begins in the worker's own context anyway",
    "ssl-context-factory": _NO_CONTEXT,
    "ssl-version": _TLS_VERSION,
    "ws-per-message-deflate": "use --ws-compression",
    # PM2
    "combine-logs": _ONE_LOG,
    "cwd": "--chdir",
    "gid": "--group",
    "uid": "--user",
    "cron": "use --worker-max-age, for an age instead of a time of day",
    "cron-restart": "use --worker-max-age, for an age instead of a time of day",
    "error": _LOG_FILE,
    "exp-backoff-restart-delay": "a worker that keeps dying is replaced after 0.5, 1, 2 ... 30 s",
    "restart-delay": "a worker that keeps dying is replaced after 0.5, 1, 2 ... 30 s",
    "ignore-watch": "--reload-exclude",
    "watch": "use --reload, in development",
    "watch-delay": "--reload-delay",
    "instances": "use --workers",
    "interpreter": "install corehttp in the environment of the interpreter that is to run it",
    "kill-timeout": "use --timeout-graceful-shutdown",
    "listen-timeout": "use --timeout-worker-startup",
    "log": _LOG_FILE,
    "log-date-format": _TIMES,
    "log-type": "use --log-format json",
    "max-memory-restart": "--worker-max-rss",
    "max-restarts": "use --crash-loop-timeout",
    "merge-logs": _ONE_LOG,
    "min-uptime": "use --crash-loop-timeout",
    "no-autorestart": "a worker that ends is always replaced",
    "no-daemon": "corehttp stays in the foreground anyway",
    "output": _ACCESS_FILE,
    "time": "each log line has its time anyway",
    "wait-ready": "the lifespan start-up says when a worker is ready",
    # headings of corehttp.toml
    "corehttp": _TABLE,
    "tool": _TABLE,
    # gunicorn
    "access-logfile": "--access-log-file",
    "accesslog": "--access-log-file",
    "access-logformat": "--access-log-format",
    "asgi-disconnect-grace-period": "use --cancel-on-disconnect, or receive() in the application",
    "asgi-lifespan": "--lifespan",
    "asgi-loop": "--loop",
    "ca-certs": "--ssl-ca-certs",
    "capture-output": "what the application prints is left alone",
    "casefold-http-method": _HTTP,
    "cert-reqs": "--ssl-cert-reqs",
    "certfile": "--ssl-certfile",
    "check-config": _COMMAND_LINE,
    "ciphers": "--ssl-ciphers",
    "config": "options are read from corehttp.toml or [tool.corehttp] in pyproject.toml, in the current directory",
    "control-socket": "--control",
    "control-socket-disable": "use --control off",
    "control-socket-mode": "use --control-group",
    "no-control-socket": "use --control off",
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
    "disable-redirect-access-to-syslog": _SYSLOG,
    "do-handshake-on-connect": "a handshake never holds up other connections",
    "dogstatsd-tags": _STATSD,
    "enable-backlog-metric": _STATSD,
    "statsd-host": _STATSD,
    "statsd-prefix": _STATSD,
    "enable-stdio-inheritance": "workers inherit standard output and standard error anyway",
    "env": _SERVICE,
    "raw-env": _SERVICE,
    "error-logfile": "--log-file",
    "errorlog": "--log-file",
    "loglevel": "--log-level",
    "forwarder-headers": _HTTP,
    "header-map": _HTTP,
    "graceful-timeout": "--timeout-graceful-shutdown",
    "initgroups": "the processes of --user have all groups of that user",
    "http-parser": "--http",
    "http-protocols": _HTTP2,
    "http2-cleartext": _HTTP2,
    "http2-initial-window-size": _HTTP2,
    "http2-max-concurrent-streams": _HTTP2,
    "http2-max-frame-size": _HTTP2,
    "http2-max-header-list-size": _HTTP2,
    "keep-alive": "--timeout-keep-alive",
    "keepalive": "--timeout-keep-alive",
    "keyfile": "--ssl-keyfile",
    "limit-request-field-size": "use --limit-request-head, for all fields together",
    "log-config-json": "--log-config",
    "logconfig": "--log-config",
    "logconfig-dict": _LOGGING,
    "logconfig-json": "--log-config",
    "logger-class": _LOGGING,
    "log-syslog": _SYSLOG,
    "log-syslog-facility": _SYSLOG,
    "log-syslog-prefix": _SYSLOG,
    "log-syslog-to": _SYSLOG,
    "syslog": _SYSLOG,
    "syslog-addr": _SYSLOG,
    "syslog-facility": _SYSLOG,
    "syslog-prefix": _SYSLOG,
    "max-requests": "--limit-max-requests",
    "max-requests-jitter": "--limit-max-requests-jitter",
    "proc-name": "--name",
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
    "pidfile": "--pid",
    "preload-app": "--preload",
    "print-config": _COMMAND_LINE,
    "protocol": _UWSGI,
    "proxy-allow-ips": "--proxy-allow-from",
    "uwsgi-allow-from": _UWSGI,
    "uwsgi-allow-ips": _UWSGI,
    "pythonpath": "use --app-dir, or PYTHONPATH in the environment",
    "reload-engine": "use --reload; WATCHFILES_FORCE_POLLING=1 in the environment has it poll",
    "reload-extra-file": "use --reload-include",
    "reload-extra-files": "use --reload-include",
    "reuse-port": "use --socket reuseport",
    "secure-scheme-headers": "use --proxy-headers",
    "spew": "there is no tracing; kill -USR2 has a worker print its stacks",
    "ssl-context": _NO_CONTEXT,
    "suppress-ragged-eofs": "a client that ends without close_notify is taken as one that has left",
    "timeout": "use --timeout-worker-healthcheck for a blocked event loop, --timeout-request for a request",
    "tmp-upload-dir": _NONE,
    "websocket-max-message-size": "--ws-max-size",
    "worker-class": "every worker runs an event loop; leave it out, see --loop",
    "worker-connections": "--limit-connections",
    "worker-tmp-dir": _NONE,
    "wsgi-app": "name the application as the first argument, MODULE:ATTRIBUTE",
    "child-exit": _HOOK,
    "nworkers-changed": _HOOK,
    "on-exit": _HOOK,
    "on-reload": _HOOK,
    "on-starting": _HOOK,
    "post-fork": _HOOK,
    "post-request": _HOOK,
    "post-worker-init": _HOOK,
    "pre-exec": _HOOK,
    "pre-fork": _HOOK,
    "pre-request": _HOOK,
    "when-ready": _HOOK,
    "worker-abort": _HOOK,
    "worker-exit": _HOOK,
    "worker-int": _HOOK,
}


def instead(name: str) -> str:
    """Return what to use instead of a flag or keyword of uvicorn's, gunicorn's or PM2's; empty for any other name."""
    text = _text(name)
    return f"use {text}" if text.startswith("--") else text


def equal(name: str) -> str:
    """Return the flag of ours that takes the same values as this one of another server's; empty if there is none."""
    text = _text(name)
    return text if text.startswith("--") else ""


def _text(name: str) -> str:
    """Return the line of the table for a flag or keyword; empty if there is none."""
    if name[:1] == "-" and name[1:] in _SHORT:
        long = _SHORT[name[1:]]
        return _INSTEAD.get(long, f"--{long}")
    return _INSTEAD.get(name.lstrip("-").replace("_", "-"), "")


def suggest(key: str, known: Collection[str], spell: Callable[[str], str]) -> str:
    """Return what is to follow "... is not an option" for a key, keyword or variable `key`; may be empty.

    `known` are the names of all options. `spell` returns how an option is written where `key` was found.
    """
    from difflib import get_close_matches  # imported here, because only a mistake needs it

    if text := instead(key):
        return "; " + re.sub(r"--([a-z-]*[a-z])", lambda flag: spell(flag[1].replace("-", "_")), text)
    close = get_close_matches(key.lower().replace("-", "_"), known, 1)
    return f"; did you mean {spell(close[0])!r}?" if close else ""
