"""Variables of the environment whose names begin like those of options, but which are not options.

The functions are pure: the caller passes the environment.
"""

import re
from collections.abc import Collection, Iterator, Mapping

from corehttp.unknown_options import instead, suggest

PREFIX = "COREHTTP_"
_UVICORN = "UVICORN_"  # how the variables begin from which uvicorn takes options
# The names, without the prefix, of variables that a supervisor sets for its workers and for its successor.
_OURS = {
    *("WORKER_ID", "WORKER_PID", "SUPERVISOR", "ESTATE", "HERITAGE", "CONTROL_SOCKET", "ADMIN_SOCKETS", "ELDER"),
    "STICKY_SECRET",
}
# What Kubernetes puts into every pod for a service named corehttp or corehttp-SOMETHING (its documentation of services,
# "Environment variables"); COREHTTP_PORT only with an address in it.
_LINK = r"(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_PROTO|_PORT|_ADDR)?)"
_LINKED_PORT = r"(\w+_)?PORT"
_ADDRESS = r"(tcp|udp|sctp)://"


def variable(option: str) -> str:
    """Return the name of the environment variable that sets `option`."""
    return PREFIX + option.upper()


def without_service_links(env: Mapping[str, str]) -> Mapping[str, str]:
    """Return `env` without the variables of Kubernetes services, one of which would be mistaken for `--port`."""
    return {name: value for name, value in env.items() if not _is_service_link(name, value)}


def warnings(env: Mapping[str, str], known: Collection[str]) -> Iterator[str]:
    """Yield a line of text for each variable that looks like an option but is not; `known` are the names of options."""
    for name, value in sorted(env.items()):
        if name.startswith(_UVICORN) and (use := _instead(name.removeprefix(_UVICORN).lower(), known)):
            yield f"{name} is not read{use}"
        key = name.removeprefix(PREFIX)
        if key == name or key in _OURS:
            continue
        if key == key.upper() and key.lower() in known and not re.match(_ADDRESS, value):
            continue
        if not _is_service_link(name, value):
            yield f"{name} is not an option and is ignored{suggest(key.lower(), known, variable)}"
        elif key.lower() in known:
            yield (
                f"{name}={value} is ignored: Kubernetes sets it for a service named corehttp, it is no option; "
                "enableServiceLinks: false in the pod leaves it out"
            )


def _instead(option: str, known: Collection[str]) -> str:
    """Return the end of a line about a variable of uvicorn's: what to use; empty if it is none of its options."""
    if option in known:
        return f"; use {variable(option)}"
    return suggest(option, known, variable) if instead(option) else ""


def _is_service_link(name: str, value: str) -> bool:
    key = name.removeprefix(PREFIX)
    if key == name:
        return False
    return bool(re.fullmatch(_LINK, key) or (re.fullmatch(_LINKED_PORT, key) and re.match(_ADDRESS, value)))
