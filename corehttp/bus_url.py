"""The address of a Redis, as the option `bus` has it. Pure."""

import re

from corehttp.option_kinds import OptionKind
from corehttp.records import record

PORT = 6379  # where Redis listens unless the address says otherwise
# The files of TLS that an address may name in its query, as redis-py calls them.
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


@record
class BusURL:
    """Where a Redis is, and who asks."""

    host: str  # a name or an address; empty if it listens on a unix socket
    port: int
    path: str  # the path of its unix socket; empty if it has a host
    username: str | None
    password: str | None
    tls: dict[str, str] | None  # the paths of files for TLS, by the names of TLS_FILES; None without TLS

    @property
    def shown(self) -> str:
        """The address for a reader of the log: without user, password and files."""
        if self.path:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'redis' if self.tls is None else 'rediss'}://{host}:{self.port}"


def parse(text: str) -> BusURL:
    """Return the address that a URL is. Raises ValueError for one that is not understood.

    The number of a database is allowed, as other clients need it, and has no meaning: messages of Redis belong to none.
    """
    from urllib.parse import unquote, urlsplit  # here, since few services need it

    if not text.isprintable() or " " in text:
        raise ValueError
    parts = urlsplit(text)
    query = _read_query(parts.query, parts.scheme)
    database = query.get("db", "0")
    if parts.scheme == "unix":
        host, path = "", unquote(parts.path)
        if parts.hostname or len(path) < 2:
            raise ValueError
    elif parts.scheme in ("redis", "rediss"):
        host, path = parts.hostname or "", ""
        database = parts.path.strip("/") or database
    else:
        raise ValueError
    if parts.fragment or not (host or path) or not re.fullmatch("[0-9]{1,5}", database) or parts.port == 0:
        raise ValueError
    return BusURL(
        host=host,
        port=parts.port or PORT,
        path=path,
        username=unquote(parts.username or "", errors="strict") or query.get("username"),
        password=unquote(parts.password or "", errors="strict") or query.get("password"),
        tls={name: query[name] for name in TLS_FILES if name in query} if parts.scheme == "rediss" else None,
    )


def _read_query(text: str, scheme: str) -> dict[str, str]:
    """Return the values in the query of a URL, by their names. Raises ValueError for a name that `scheme` has not."""
    from urllib.parse import parse_qsl

    query = dict(parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text)))
    known = {"db", "username", "password", *(TLS_FILES if scheme == "rediss" else ())}
    if not set(query) <= known or not all(query.values()):
        raise ValueError
    return query


def _parse_option(value: object) -> str:
    """Return an address as it was given."""
    if not isinstance(value, str):
        raise ValueError
    parse(value)
    return str.__str__(value)


BUS = OptionKind(
    _parse_option,
    "redis://[[USER]:PASSWORD@]HOST[:PORT], the same with rediss:// for TLS, or unix:///PATH of its socket "
    '(docs/workers.md, "Many machines")',
    placeholder="URL",
    conceal=lambda value: parse(value).shown,
)
