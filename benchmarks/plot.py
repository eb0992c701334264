"""Draw the recorded runs: `python -m benchmarks.plot`, after `python -m benchmarks.peers --record docs/benchmarks`.

For each run and each group of workloads there is one SVG, with a panel for each workload: the CPU time per request of
each server as a ratio to uvicorn's in the same round. A bar is the median over the rounds, the line at its end goes
from the lowest to the highest round.
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot

from benchmarks.lib.recorded import DIRECTORY, GROUPS, Run, plot_name, ratios, recorded

_OWN_COLOUR, _OTHER_COLOUR, _LINE_COLOUR = "#c2410c", "#94a3b8", "#334155"
_COLUMNS = 3
# A server that needs more is drawn up to here, so that the differences between the others can be seen.
_MOST = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the plots; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description=__doc__)
    parser.add_argument("directory", type=Path, nargs="?", default=DIRECTORY, help="of the JSON files and the plots")
    options = parser.parse_args(arguments)
    # The same run gives the same bytes: text stays text, and there are no random identifiers.
    mpl.rcParams.update({"svg.hashsalt": "corehttp", "svg.fonttype": "none", "font.size": 9})
    for run in recorded(options.directory):
        for group in GROUPS:
            sections = run.group(group)
            if sections:
                path = options.directory / plot_name(run, group)
                draw(path, run, sections)
                print(path)
    return 0


def draw(path: Path, run: Run, sections: Sequence[Mapping[str, Any]]) -> None:
    """Write one plot with a panel for each section; the digest of the run's file is in its metadata."""
    columns = min(_COLUMNS, len(sections))
    lines = math.ceil(len(sections) / columns)
    most = max(len(section["rows"]) for section in sections)
    size = (3.6 * columns, (0.75 + 0.24 * most) * lines + 0.4)
    figure, grid = pyplot.subplots(lines, columns, figsize=size, layout="constrained", squeeze=False)
    panels = list(grid.flat)
    for axes, section in zip(panels, sections, strict=False):
        _draw_panel(axes, section)
    for axes in panels[len(sections) :]:
        axes.set_visible(False)
    title = f"CPU time per request, uvicorn = 1, bars end at {_MOST:g}; {run.figures['versions']['python']}"
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, metadata={"Date": None, "Description": f"{run.name}.json, SHA-256 {run.digest}"})
    pyplot.close(figure)


def _draw_panel(axes: Any, section: Mapping[str, Any]) -> None:
    found = ratios(section)
    names = sorted(found, key=lambda name: -median(found[name]))
    values = [min(_MOST, median(found[name])) for name in names]
    spread = [
        [value - min(_MOST, *found[name]) for name, value in zip(names, values, strict=True)],
        [min(_MOST, max(found[name])) - value for name, value in zip(names, values, strict=True)],
    ]
    colours = [_OWN_COLOUR if name.startswith("corehttp") else _OTHER_COLOUR for name in names]
    axes.barh(names, values, xerr=spread, color=colours, ecolor=_LINE_COLOUR, capsize=2)
    for name, colour in zip(names, colours, strict=True):
        text = "white" if colour == _OWN_COLOUR else "black"
        axes.text(0.02, name, f"{median(found[name]):.2f}", va="center", ha="left", color=text, fontsize=8)
    axes.axvline(1.0, color=_LINE_COLOUR, linewidth=0.8, linestyle=":")
    axes.set_xlim(0, _MOST if max(values) > 1.5 else 1.5)
    axes.set_title(section["name"], fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    sys.exit(main())
