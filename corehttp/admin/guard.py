"""Who may see what of the admin listener. Pure.

A stranger's page, in the browser of somebody who may see all, must not see it: by DNS rebinding its own name leads to
this machine. Its requests carry that name in the Host field, so names that are not this machine's are refused to all
who come from the machine itself.
"""

import base64
import binascii
import hmac
import re
from enum import Enum

from corehttp.loopback import is_loopback
from corehttp.records import record


class Origin(Enum):
    """From where a client connects."""

    UNIX = "unix"  # over a unix socket
    LOOPBACK = "loopback"  # from this machine
    NETWORK = "network"


class Admittance(Enum):
    """What becomes of a request."""

    GRANTED = "granted"
    HOST_REFUSED = "host refused"  # its Host field names another machine
    TOKEN_NEEDED = "token needed"  # only with --admin-token


@record
class Asker:
    """What is known of who sends a request."""

    origin: Origin
    host: str | None  # the Host field; None without one, as of a program that speaks HTTP/1.0
    authorization: str | None
    forwarded: bool  # whether a proxy says that it sends the request for another client


def admit(asker: Asker, *, private: bool, token: str | None, names: frozenset[str]) -> Admittance:
    """Return what becomes of a request.

    `private` content is for this machine, and for those who have the token. `names` are those of this machine, in lower
    case; IP addresses and `localhost` are always taken for it.
    """
    if token is not None and _shows(asker.authorization, token):
        return Admittance.GRANTED
    if asker.origin is not Origin.NETWORK and not _is_ours(asker.host, names):
        return Admittance.HOST_REFUSED
    if private and (asker.origin is Origin.NETWORK or asker.forwarded):
        return Admittance.TOKEN_NEEDED
    return Admittance.GRANTED


def origin_of(client: object) -> Origin:
    """Return from where a client comes whose ASGI scope has this `client`."""
    if not isinstance(client, tuple | list) or not client:
        return Origin.UNIX
    return Origin.LOOPBACK if is_loopback(str(client[0])) else Origin.NETWORK


def _shows(authorization: str | None, token: str) -> bool:
    """Whether the field shows the token, as Bearer or as the password of Basic, which browsers ask for."""
    scheme, _, credentials = (authorization or "").strip().partition(" ")
    credentials = credentials.strip()
    match scheme.lower():
        case "bearer":
            shown = credentials.encode("latin-1", "replace")
        case "basic":
            try:
                shown = base64.b64decode(credentials, validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                return False
        case _:
            return False
    return hmac.compare_digest(shown, token.encode())


def _is_ours(host: str | None, names: frozenset[str]) -> bool:
    """Whether a Host field names this machine."""
    if host is None:
        return True
    name = re.sub(r":[0-9]*$", "", host.strip()).lower().rstrip(".")
    if re.fullmatch(r"\[[0-9a-f:.]+\]|[0-9]{1,3}(\.[0-9]{1,3}){3}", name):
        return True
    return name == "localhost" or name.endswith(".localhost") or name in names
