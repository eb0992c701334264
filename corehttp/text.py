"""Text of clients and applications, decoded and made fit for log lines; and numbers of things in words."""

from itertools import product

from corehttp.patterns import pattern

_ESCAPES = pattern(rb"%([0-9A-Fa-f]{2})")
_BYTES = {bytes(pair): bytes([int(bytes(pair), 16)]) for pair in product(b"0123456789abcdefABCDEF", repeat=2)}


def unquoted(path: str) -> str:
    """Return a path of ASCII characters with its percent-encoding undone once and read as UTF-8 (RFC 3986, 2.1).

    Bytes that are not UTF-8 become U+FFFD. The result is that of `urllib.parse.unquote`, in a third of the time for a
    short path, and in 80 us instead of 2,100 for 8,000 times `%`, a time that all other clients have to wait.
    """
    pieces = _ESCAPES().split(path.encode())
    pieces[1::2] = [_BYTES[digits] for digits in pieces[1::2]]
    return b"".join(pieces).decode(errors="replace")


def counted(count: int, noun: str) -> str:
    """Return a number of things, as in "1 worker" and "2 workers"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def printable(text: str) -> str:
    """Return the text with its control characters escaped, so that it can neither end a line nor steer a terminal."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def shown(value: object) -> str:
    """Return the `repr` of a value, or, if that raises an Exception, the one that every object has."""
    try:
        return repr(value)
    except Exception:
        return object.__repr__(value)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode()
