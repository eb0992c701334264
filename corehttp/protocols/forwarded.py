"""What the proxies that a request has passed say in its fields, in one form whichever fields they write. Pure.

Each proxy adds an element to lists: X-Forwarded-For, -Proto, -Host, -Port and -Prefix, or Forwarded (RFC 7239), which
says in each element what the first three of those say. The last element is that of the nearest proxy. What stands left
of the elements of trusted proxies may be invented, so nothing there may change how those are read.
"""

from collections.abc import Mapping

from corehttp.asgi import Headers
from corehttp.patterns import pattern
from corehttp.protocols.field_names import FORWARDED, HOPS, IN_FORWARDED

# One pair of an element of Forwarded (RFC 7239, 4): its value is a token or a quoted string. Many proxies write
# addresses with colons and brackets without the quotes, which cannot be taken for anything else.
_PAIR = pattern(r"""[ \t;]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^";\\\s]+))[ \t]*(?=;|$)""")
_ESCAPED = pattern(r"\\(.)")
_HIDDEN_PORT = pattern(r":_[A-Za-z0-9._\-]+$")  # an obfuscated port (RFC 7239, 6.3)


def read_trusted(text: str) -> tuple[bool, bool, list[str]]:
    """Return whether a value of `--forwarded-allow-ips` names every peer, every one on a unix socket, and its rest.

    The rest are to be addresses and networks.
    """
    entries = [entry.strip() for entry in text.split(",")]
    return "*" in entries, "unix" in entries, [entry for entry in entries if entry not in ("", "*", "unix")]


def names_of(fields: str) -> dict[bytes, str]:
    """Return the names of the fields that are read, in lower case, and what each says; `fields` is a comma list."""
    return {(FORWARDED if what == FORWARDED else "x-forwarded-" + what).encode(): what for what in fields.split(",")}


def said_in(headers: Headers, names: Mapping[bytes, str]) -> dict[str, list[str]]:
    """Return the elements of each field, by its name in PROXY_FIELDS; that of the nearest proxy comes last.

    `names` are those of the fields that are read (`names_of`). Where an element of Forwarded lacks a pair, an empty
    text stands in its place. At most HOPS elements of each line of a field are kept.
    """
    said: dict[str, list[str]] = {}
    for name, value in headers:
        what = names.get(name)
        if what is None:
            continue
        if what != FORWARDED:
            # Quotes are no part of an address.
            elements = [element.strip(' \t"') for element in _parted(value)]
            said.setdefault(what, []).extend([element for element in elements if element])
            continue
        pairs = [_pairs_of(element) for element in _parted(value) if element.strip(" \t")]
        for part in IN_FORWARDED:
            said.setdefault(part, []).extend([pair.get(part, "") for pair in pairs])
    return said


def _parted(value: bytes) -> list[str]:
    """Return the last HOPS elements of a list (RFC 9110, 5.6.1), with space around them, and also empty ones.

    Quotes hold none together: a client could open one and never close it, and so hide what a proxy has added. Where an
    element is torn apart at a quoted comma its last part has a quote too many: it is not well-formed, and nothing that
    stands left of it is believed.
    """
    return value.decode("latin-1").rsplit(",", HOPS)[-HOPS:]


def _pairs_of(element: str) -> dict[str, str]:
    """Return the pairs of an element of Forwarded, by their names in lower case; none if any of it is wrong."""
    pairs: dict[str, str] = {}
    element = element.rstrip(" \t;")
    at = 0
    while at < len(element):
        pair = _PAIR().match(element, at)
        if pair is None or (name := pair[1].lower()) in pairs:
            return {}
        pairs[name] = pair[3] or _ESCAPED().sub(r"\1", pair[2])
        at = pair.end()
    if "for" in pairs:
        pairs["for"] = _HIDDEN_PORT().sub("", pairs["for"])
    return pairs
