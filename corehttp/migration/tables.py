"""The tables of docs/from-uvicorn.md and docs/from-gunicorn.md: each flag, and what becomes of it here. Pure."""

from collections.abc import Iterable
from itertools import groupby

from corehttp.migration.flags import Flag


def table(flags: Iterable[Flag], server: str) -> str:
    """Return the flags as a Markdown table."""
    shown = [flag for flag in flags if flag.key not in ("--help", "--version")]
    rows = [f"| {', '.join(map(_names, alike))} | {answer} |" for answer, alike in groupby(shown, _answer)]
    return "\n".join([f"| {server} | corehttp |", "|---|---|", *rows])


def _names(flag: Flag) -> str:
    names = [name.replace("|", "\\|") for name in flag.names or (flag.setting,)]
    setting = f" (`{flag.setting}`)" if flag.names and flag.setting else ""
    return ", ".join(f"`{name}`" for name in names) + setting


def _answer(flag: Flag) -> str:
    """Return what becomes of a flag."""
    if flag.convert is not None:
        return flag.text
    if not flag.ours:
        return flag.instead if flag.instead.startswith("use ") else f"not there: {flag.instead}"
    name = f"--{flag.ours.replace('_', '-')}"
    has_short = any(other[:2] != "--" for other in flag.names)  # which are not ours
    return "; ".join(filter(None, [f"`{name}`" if has_short or name != flag.key else "the same", flag.text]))
