"""Rows of text as an aligned table: the first column to the left, figures to the right."""

from collections.abc import Sequence
from itertools import count


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the header and the rows as lines of text with columns of equal width."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join("  ".join(map(_pad, line, widths, count())).rstrip() for line in lines)


def _pad(text: str, width: int, column: int) -> str:
    return text.rjust(width) if column else text.ljust(width)


def ratio(value: float | None) -> str:
    """Return a ratio as text, or a dash where there is none."""
    return "-" if value is None else f"{value:.2f}x"


def megabytes(value: float) -> str:
    """Return a number of bytes as text, in units of 1,000,000."""
    return f"{value / 1e6:.1f}"
