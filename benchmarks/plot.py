"""Draw what `python -m benchmarks.peers --json FILE` has measured: `python -m benchmarks.plot FILE DIRECTORY`.

One SVG for each workload and number of workers: CPU time per request of each server, as a ratio to uvicorn in the same
round. The bar is the median over the rounds, the line across its end goes from the lowest to the highest round.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

from benchmarks.lib.summary import BASELINE

_OWN_COLOUR, _OTHER_COLOUR = "#c2410c", "#94a3b8"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the plots; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description=__doc__)
    parser.add_argument("source", type=Path, help="the JSON file of a run")
    parser.add_argument("target", type=Path, help="the directory to write the SVG files to")
    options = parser.parse_args(arguments)
    run = json.loads(options.source.read_text())
    options.target.mkdir(parents=True, exist_ok=True)
    # The same run gives the same bytes: no random identifiers, no date of the drawing.
    mpl.rcParams["svg.hashsalt"] = "corehttp"
    for section in run["sections"]:
        ratios = ratios_of(section["rounds"])
        if len(ratios) > 1:
            path = options.target / f"{section['workload']}-{section['workers']}.svg"
            draw(path, f"{section['title']}\n{run['versions']['python']}", ratios)
            print(path)
    return 0


def ratios_of(rounds: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, list[float]]:
    """For each server the CPU time per request in each round, as a ratio to that of the baseline in the same round."""
    found: dict[str, list[float]] = {}
    for samples in rounds:
        base = samples.get(BASELINE, {}).get("cpu_us")
        for name, sample in samples.items():
            if base and sample["requests"]:
                found.setdefault(name, []).append(sample["cpu_us"] / base)
    return found


def draw(path: Path, title: str, ratios: Mapping[str, Sequence[float]]) -> None:
    """Write one plot, the server that needs least on top."""
    names = sorted(ratios, key=lambda name: -median(ratios[name]))
    values = [median(ratios[name]) for name in names]
    spread = [
        [value - min(ratios[name]) for name, value in zip(names, values, strict=True)],
        [max(ratios[name]) - value for name, value in zip(names, values, strict=True)],
    ]
    colours = [_OWN_COLOUR if name.startswith("corehttp") else _OTHER_COLOUR for name in names]
    figure, axes = pyplot.subplots(figsize=(7, 0.9 + 0.38 * len(names)), layout="constrained")
    axes.barh(names, values, xerr=spread, color=colours, ecolor="#334155", capsize=3)
    for name, value in zip(names, values, strict=True):
        axes.text(0.01, name, f" {value:.2f}", va="center", ha="left", color="white", fontsize=9)
    axes.axvline(1.0, color="#334155", linewidth=0.8, linestyle=":")
    axes.set_xlabel(f"CPU time per request, {BASELINE} = 1 (less is better)")
    axes.set_title(title, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
