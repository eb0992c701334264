"""Writes the table of all options into a document: python -m tests.options_table README.md."""

import sys
from pathlib import Path

from corehttp.config import options
from corehttp.option import Option

BEGIN, END = "<!-- options -->", "<!-- /options -->"


def table() -> str:
    """All options as a Markdown table."""
    rows = [_row(entry) for entry in options() if entry.name != "app"]
    return "\n".join(["| flag | environment | default | what it does |", "|---|---|---|---|", *rows])


def with_table(document: str) -> str:
    """The document with the present table between its two marks; raises ValueError if it has not both, in order."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document needs the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _row(entry: Option) -> str:
    flag = f"{entry.flag}`, `--no-{entry.flag[2:]}" if entry.kind.is_switch else "`, `".join(entry.flags)
    if entry.kind.choices:
        flag += " " + entry.value.replace("|", "\\|")
    text = entry.help.replace("|", "\\|")
    return f"| `{flag}` | `{entry.env}` | {_default(entry.default)} | {text} |"


def _default(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value in (None, "", ()):
        return ""
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_table(path.read_text()))
