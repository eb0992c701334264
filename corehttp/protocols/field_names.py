"""Names of a request's fields: in lower case, and whether a proxy says in them what it has seen. Pure."""

PROXY_FIELDS = "for,proto,host,port,prefix"  # what a proxy may say, as the ends of the names of fields of its own
FORWARDED = "forwarded"  # the field that says the first three of them in one (RFC 7239)
HOPS = 32  # elements of a list that are looked at, from the right: there are no more proxies in a row
IN_FORWARDED = ("for", "proto", "host")
X_FIELDS = frozenset(b"x-forwarded-" + what.encode() for what in PROXY_FIELDS.split(","))

_REMEMBERED = 512  # names
_REMEMBERED_SIZE = 64  # bytes of the longest name that is remembered

# Names of fields that were seen and are not a proxy's, as clients write them and in lower case, which the values are:
# `lower_name` fills it. To look a name up takes half the time of lower(), and its hash is known from then on.
ordinary: dict[bytes, bytes] = {}
proxied: dict[bytes, bytes] = {}  # The same for names of a proxy's fields.


def lower_name(name: bytes) -> bytes:
    """A field's name in lower case; it is remembered in `ordinary` or `proxied` unless it is long."""
    lower = name.lower()
    if len(name) <= _REMEMBERED_SIZE:
        known = proxied if is_forwarding(lower) else ordinary
        if len(known) >= _REMEMBERED:
            known.clear()
        known[name] = known[lower] = lower
    return lower


def forwarding(fields: dict[bytes, bytes]) -> list[bytes]:
    """The names of those fields of a request in which a proxy says what it has seen; none if all are `ordinary`."""
    return [name for name in fields if name in proxied or (name not in ordinary and is_forwarding(name))]


def is_forwarding(name: bytes) -> bool:
    """Whether a field, by its lower-case name, is one in which a proxy says what it has seen.

    An underscore counts as a hyphen, since both become the same variable behind CGI and WSGI (RFC 3875, 4.1.18).
    """
    name = name.replace(b"_", b"-")
    return name.startswith(b"x-forwarded") or name == b"forwarded" or name == b"x-real-ip"
