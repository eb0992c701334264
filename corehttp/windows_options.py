"""Which options ask for what is not there on Windows, where one worker serves without a supervisor. Pure."""

from collections.abc import Collection, Mapping
from typing import Any

from corehttp.bind_option import TCPPlace, places
from corehttp.errors import ELSEWHERE, ConfigError

# The options for what Windows does not have, or Python there, beside those that need a supervisor.
_NOT_THERE = (
    *("uds", "uds_permissions", "uds_owner", "fd", "socket", "sticky", "proxy_protocol", "pathsend"),
    *("reload_dir", "reload_include", "reload_exclude", "preload_strict", "admin_token", "ready_min_workers"),
    *("prometheus_multiproc", "user", "group", "umask", "pid", "bus", "log_max_size", "log_keep"),
)


def check_windows(values: Mapping[str, Any], defaults: Mapping[str, object], supervised: Collection[str]) -> None:
    """Raise ConfigError for an option that asks for what is not there on Windows.

    `values` are those of all options, by name, and `supervised` the options that need a supervisor.
    """
    if values["workers"] != "1":
        raise _missing(f"workers {values['workers']}", "one worker serves, in the process of the command")
    if values["control"] not in ("auto", "off"):
        raise _missing(f"control {values['control']}", "there are no unix sockets")
    if values["loop"] == "uvloop":
        raise _missing("loop uvloop", "the event loop is that of asyncio")
    for name in (*_NOT_THERE, *supervised):
        if values[name] != defaults[name]:
            raise _missing(name.replace("_", "-"))
    for place in places(values):
        if not isinstance(place, TCPPlace):
            raise _missing("bind to anything but HOST:PORT")


def _missing(what: str, reason: str = "") -> ConfigError:
    """Return the error for an option that is not there, and why."""
    return ConfigError(
        f"{what}: not there on Windows itself{reason and f', where {reason}'}; leave it out, or {ELSEWHERE}"
    )
