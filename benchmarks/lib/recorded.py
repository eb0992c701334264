"""Runs recorded as JSON by `python -m benchmarks.peers --record DIRECTORY`: reading them, and naming their parts."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.lib.applications import ROOT

DIRECTORY = ROOT / "docs" / "benchmarks"

# The parts of a plotted run, in the order of the documentation, and the sections in each.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "requests": ("hello", "access-log", "browser", "paths", "nothing-repeats", "post", "close"),
    "applications": ("starlette", "fastapi", "large", "stream", "upload"),
    "files": ("read-content", "read-content-2", "read-in-thread", "read-in-thread-2"),
    "websockets": ("websocket-125-1", "websocket-125-50", "websocket-16384-1", "websocket-16384-50"),
}


@dataclass(frozen=True, slots=True)
class Run:
    """One recorded run: `name` is that of its interpreter, `digest` the SHA-256 of its file in hexadecimal."""

    name: str
    digest: str
    figures: Mapping[str, Any]

    @property
    def sections(self) -> Mapping[str, Mapping[str, Any]]:
        """The comparisons in which a server was measured, by their names."""
        return {section["name"]: section for section in self.figures["sections"] if section["rows"]}

    def group(self, name: str) -> list[Mapping[str, Any]]:
        """Return the sections of one of GROUPS that were measured."""
        return [self.sections[section] for section in GROUPS[name] if section in self.sections]


def recorded(directory: Path = DIRECTORY) -> list[Run]:
    """Return all recorded runs, that of the newest interpreter first."""
    paths = sorted(directory.glob("*.json"), reverse=True)
    return [
        Run(path.stem, hashlib.sha256(path.read_bytes()).hexdigest(), json.loads(path.read_text())) for path in paths
    ]


def plot_name(run: Run, group: str) -> str:
    """Return the name of the file that a group of a run is drawn into."""
    return f"{run.name}-{group}.svg"


def ratios(section: Mapping[str, Any], figure: str = "cpu_us") -> dict[str, list[float]]:
    """Return for each server its ratios of a figure to the baseline's, one for each round."""
    found: dict[str, list[float]] = {}
    rounds: Sequence[Mapping[str, Mapping[str, Any]]] = section["rounds"]
    for samples in rounds:
        base = samples.get(section["baseline"], {}).get(figure)
        for name, sample in samples.items():
            if base:
                found.setdefault(name, []).append(sample[figure] / base)
    return found
