"""Text from others: a target's path, and what a log line can show of it."""

import re
from itertools import product

_ESCAPES = re.compile(rb"%([0-9A-Fa-f]{2})").split
_BYTES = {bytes(pair): bytes([int(bytes(pair), 16)]) for pair in product(b"0123456789abcdefABCDEF", repeat=2)}


def unquoted(path: str) -> str:
    """A path of ASCII characters without its percent-encoding, once, as UTF-8; U+FFFD for bytes that are none.

    It does as `urllib.parse.unquote`, in a third of the time for a short path; for 8,000 `%` alone in 80 us instead of
    2,100, since others wait meanwhile.
    """
    pieces = _ESCAPES(path.encode())
    pieces[1::2] = [_BYTES[digits] for digits in pieces[1::2]]
    return b"".join(pieces).decode(errors="replace")


def printable(text: str) -> str:
    """The text with its control characters escaped, so that it can neither end a line nor steer a terminal."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def shown(value: object) -> str:
    """Its `repr`, or that of any object where its own raises."""
    try:
        return repr(value)
    except Exception:
        return object.__repr__(value)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode()
