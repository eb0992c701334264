"""Which options exclude or need each other. Pure."""

import sys
from collections.abc import Mapping
from typing import Any

from corehttp.bind_option import TCPPlace, UnixPlace, WorkerPlace, check_binds, overlap, places
from corehttp.errors import ConfigError
from corehttp.loopback import is_loopback
from corehttp.option_kinds import OPEN_TO_ALL
from corehttp.proxy_options import THIS_MACHINE, check_proxy_protocol
from corehttp.tls_options import check_tls
from corehttp.windows_options import check_windows

_SUPERVISION = (
    "have the command or corehttp.run() serve an import string, such as 'main:app', and leave out --no-supervise"
)
# The options for what only a supervisor can do.
SUPERVISED = (
    "limit_max_requests",
    "worker_max_age",
    "worker_max_rss",
    "preload",
    "timeout_worker_startup",
    "timeout_worker_healthcheck",
    "spread",
    "rescue_after",
    "reload_strategy",
    "reload_parallel",
    "reload",
    "name",
    "control_group",
    "admin",
)
# The least --rescue-after, in seconds: a worker shows four times a second that its event loop runs.
_RESCUE = 0.5
# The options that stand for one bind, and how each is given beside others.
_BINDS = {"host": "HOST:PORT", "port": "HOST:PORT", "uds": "unix:PATH", "fd": "fd://N"}
_ADDITIONS = (("limit_max_requests", "limit_max_requests_jitter"), ("worker_max_age", "worker_max_age_jitter"))


def check_together(values: Mapping[str, Any], defaults: Mapping[str, object], *, supervised: bool) -> None:
    """Raise ConfigError if the values of all options, by name, exclude each other or miss one that they need.

    `supervised` says whether the service has a supervisor.
    """
    if sys.platform == "win32":
        check_windows(values, defaults, SUPERVISED)
    _check_sockets(values, defaults)
    check_tls(values, defaults)
    check_proxy_protocol(values, defaults)
    if not supervised:
        _check_unsupervised(values, defaults)
    _check_rotation(values, defaults)
    for limit, jitter in _ADDITIONS:
        if values[jitter] and not values[limit]:
            raise ConfigError(f"{_key(jitter)} needs {_key(limit)}, to which it is added")
    if values["control_group"] and values["control"] in ("auto", "off"):
        raise ConfigError("control-group needs control PATH, a path in a directory that the group may enter")
    if values["group"] is not None and values["user"] is None:
        raise ConfigError("group needs user, whose processes get it")
    for name in ("admin_token", "ready_min_workers", "prometheus_multiproc"):
        if values[name] != defaults[name] and not values["admin"]:
            raise ConfigError(f"{_key(name)} needs admin, the address that it is for")
    if 0 < values["rescue_after"] < _RESCUE:
        raise ConfigError(f"rescue-after: {values['rescue_after']:g} is too short; it must be at least {_RESCUE}, or 0")
    if values["bus"] is not None and values["name"] is None and not isinstance(values["app"], str | None):
        raise ConfigError(
            "bus needs name where the application is an object: what the service is called on all machines"
        )
    if values["preload_strict"] and not values["preload"]:
        raise ConfigError("preload-strict needs preload")
    if values["debug_exceptions"]:
        _check_debugging(values)
    if values["reload"] and values["preload"]:
        raise ConfigError("reload and preload exclude each other: a template has the code of before a change")


def _check_sockets(values: Mapping[str, Any], defaults: Mapping[str, object]) -> None:
    """Raise ConfigError for options of the service's address that exclude or need each other."""
    uds, fd = values["uds"], values["fd"]
    for name, instead in _BINDS.items():
        if values["bind"] and values[name] != defaults[name]:
            raise ConfigError(f"bind and {name} exclude each other: give {name} as --bind {instead}")
    check_binds(values["bind"], values["redirect_http"])
    if uds is not None and fd is not None:
        raise ConfigError("uds and fd exclude each other: serve on a path or on an inherited socket")
    listening = places(values)
    count = len(listening) - len(values["redirect_http"])
    for text, place in zip(values["redirect_http"], listening[count:], strict=True):
        if any(overlap(place, other) for other in listening[:count]):
            remedy = "give it an address of its own, as in :80"
            raise ConfigError(f"redirect-http: the service speaks TLS on {text}; {remedy}")
    has_path = any(isinstance(place, UnixPlace) for place in listening)
    if values["uds_permissions"] != OPEN_TO_ALL and not has_path:
        raise ConfigError("uds-permissions needs uds, the path of the unix socket that gets them")
    if values["uds_owner"] and not has_path:
        raise ConfigError("uds-owner needs uds, the path of the unix socket that gets this owner")
    if values["socket"] == "reuseport" and not any(isinstance(place, TCPPlace) for place in listening):
        raise ConfigError("socket reuseport needs a host and port; with uds or fd it must be shared")


def _check_rotation(values: Mapping[str, Any], defaults: Mapping[str, object]) -> None:
    """Raise ConfigError for options of the rotation of log files where no log file is rotated."""
    if values["log_max_size"] and values["log_file"] is None and values["access_log_file"] is None:
        raise ConfigError("log-max-size needs log-file or access-log-file, which it rotates")
    if values["log_keep"] != defaults["log_keep"] and not values["log_max_size"]:
        raise ConfigError("log-keep needs log-max-size, from which on a file is rotated")


def _check_debugging(values: Mapping[str, Any]) -> None:
    """Raise ConfigError where tracebacks could be shown to others than who develops the application."""
    hosts = [place.host if isinstance(place, TCPPlace | WorkerPlace) else "" for place in places(values)]
    if not all(host == "localhost" or is_loopback(host) for host in hosts):
        raise ConfigError(
            "debug-exceptions shows source code: it needs host 127.0.0.1, ::1 or localhost, also in each bind, "
            "and neither uds nor fd"
        )
    # What a proxy says that is not trusted is removed: its clients would seem to be on this machine.
    if values["proxy_headers"] and values["forwarded_allow_ips"] not in (THIS_MACHINE, "*"):
        raise ConfigError(
            f"debug-exceptions needs forwarded-allow-ips to be {THIS_MACHINE}, as without the option, or "
            "no-proxy-headers: it has to see whether a proxy on this machine sends a request"
        )


def _check_unsupervised(values: Mapping[str, Any], defaults: Mapping[str, object]) -> None:
    """Raise ConfigError for an option that needs a supervisor."""
    if values["workers"] != "1":
        raise ConfigError(f"workers {values['workers']} need a supervisor: use one worker, or {_SUPERVISION}")
    if values["control"] not in ("auto", "off"):
        raise ConfigError(f"control {values['control']} needs a supervisor: leave it out, or {_SUPERVISION}")
    for name in SUPERVISED:
        if values[name] != defaults[name] and not (name == "name" and values["bus"] is not None):
            raise ConfigError(f"{_key(name)} needs a supervisor: leave it out, or {_SUPERVISION}")


def _key(name: str) -> str:
    """Return an option's name as files and messages spell it."""
    return name.replace("_", "-")
