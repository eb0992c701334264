"""Writes the tables of other servers' flags into their documents: python -m tests.migration_tables."""

from pathlib import Path

from corehttp.migration import gunicorn, uvicorn
from corehttp.migration.tables import table

DOCS = Path(__file__).parents[1] / "docs"
TABLES = {"from-uvicorn.md": table(uvicorn.FLAGS, "uvicorn"), "from-gunicorn.md": table(gunicorn.FLAGS, "gunicorn")}
BEGIN, END = "<!-- flags -->", "<!-- /flags -->"


def with_table(name: str) -> str:
    """The document of that name with the present table between its two marks; raises ValueError if it has not both."""
    before, begin, rest = (DOCS / name).read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{name} needs the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{TABLES[name]}\n{END}{after}"


if __name__ == "__main__":
    for name in TABLES:
        (DOCS / name).write_text(with_table(name))
