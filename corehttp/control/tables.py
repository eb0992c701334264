"""Figures as an operator reads them: tables of text, sizes, ages. Pure.

What comes from a service is input: any member may be missing or of another kind, and is shown as `-` then.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from corehttp.text import printable

NOTHING = "-"  # stands for what nobody knows or counts

Content = Mapping[str, object]


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: frozenset[str]) -> str:
    """Return lines in columns, those of `left` aligned to the left and all others to the right."""
    lines = [list(headings), *(list(map(printable, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if heading in left else cell.rjust(width)
            for cell, width, heading in zip(line, widths, headings, strict=True)
        ).rstrip()
        for line in lines
    )


def number(value: object, form: str = "") -> str:
    """Return a number in this format, or that it is not known."""
    return format(value, form) if isinstance(value, int | float) and not isinstance(value, bool) else NOTHING


def text(value: object) -> str:
    """Return text, or that it is not known."""
    return value if isinstance(value, str) and value else NOTHING


def size(value: object) -> str:
    """Return a number of bytes in units of 1024."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return NOTHING
    amount = float(value)
    for unit in ("B", "K", "M"):
        if abs(amount) < 1024:
            return f"{amount:.0f}{unit}"
        amount /= 1024
    return f"{amount:.1f}G"


def age(since: object, now: float) -> str:
    """Return how long ago a moment was (RFC 3339), in its two largest units; `now` in seconds since the epoch."""
    try:
        seconds = max(0, int(now - datetime.fromisoformat(str(since)).timestamp())) if since is not None else -1
    except ValueError:
        seconds = -1
    if seconds < 0:
        return NOTHING
    for unit, length, smaller, divisor in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= length:
            return f"{seconds // length}{unit}{seconds % length // divisor}{smaller}"
    return f"{seconds}s"


def moment(value: object) -> str:
    """Return a moment (RFC 3339) to the second, in UTC."""
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except ValueError:
        return NOTHING


def contents(value: object) -> list[Content]:
    """Return the objects in a list."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
