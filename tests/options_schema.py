"""Writes the JSON schema of corehttp.toml for editors: python -m tests.options_schema docs/corehttp.schema.json."""

import json
import sys
from pathlib import Path
from typing import Any

from corehttp.config import options
from corehttp.option import Option

# The JSON types of a value, by the word that stands for it in --help.
_TYPES: dict[str, str | list[str]] = {
    "N": "integer",
    "BYTES": ["integer", "string"],
    "SECONDS": "number",
    "WORKERS": ["integer", "string"],
}


def schema() -> dict[str, Any]:
    """Return the schema; each option may be written with hyphens or underscores."""
    properties: dict[str, Any] = {}
    for entry in options():
        properties[entry.name.replace("_", "-")] = properties[entry.name] = _property(entry)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "corehttp.toml, and [tool.corehttp] in pyproject.toml",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }


def _property(entry: Option) -> dict[str, Any]:
    described: dict[str, Any] = {"description": entry.help}
    if entry.default not in (None, "", ()):
        described["default"] = entry.default
    if entry.kind.is_switch:
        return {**described, "type": "boolean"}
    if entry.kind.choices:
        return {**described, "enum": [*entry.kind.choices, *entry.kind.synonyms]}
    if entry.kind.is_list:
        return {**described, "type": "array", "items": {"type": "string"}}
    if entry.name == "log_config":
        return {**described, "type": ["string", "object"]}  # a table is what a dictionary is in a program
    return {**described, "type": _TYPES.get(entry.value, "string")}


def text() -> str:
    """Return the schema as it is written."""
    return json.dumps(schema(), indent=2) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text())
