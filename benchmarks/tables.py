"""Write the figures of the recorded runs into the documentation: `python -m benchmarks.tables`.

The part between the two marks of docs/benchmarks.md and of README.md is made from docs/benchmarks/*.json alone.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.lib.applications import ROOT
from benchmarks.lib.recorded import GROUPS, Run, plot_name, ratios, recorded
from benchmarks.lib.report import command_lines

BEGIN, END = "<!-- figures -->", "<!-- /figures -->"

_OWN = "corehttp"
# What each group shows, in the order of the documentation.
_TITLES = {
    "requests": "Requests",
    "applications": "Applications, and large bodies",
    "files": "A file read for each request, with one worker and with two",
    "websockets": "WebSockets: echoes of 125 bytes and 16 KiB over 1 and 50 connections",
}
_README_SECTIONS = (
    *("hello", "browser", "paths", "nothing-repeats", "post", "close", "starlette", "fastapi"),
    *("large", "stream", "upload", "read-content", "read-in-thread", "websocket-125-1", "websocket-125-50"),
)


def main() -> int:
    """Write both documents anew; returns the exit code."""
    runs = recorded()
    for name, figures in (("docs/benchmarks.md", full_figures(runs)), ("README.md", short_figures(runs))):
        path = Path(ROOT, name)
        path.write_text(with_figures(path.read_text(), figures))
        print(path)
    return 0


def with_figures(text: str, figures: str) -> str:
    """Return a document with `figures` between its two marks; raises ValueError if it has not both, in order."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document needs the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{figures}\n{END}{after}"


def short_figures(runs: Sequence[Run]) -> str:
    """Return the README's figures: for each workload corehttp, and which of the others needs least CPU."""
    head = ["CPU per request, uvicorn = 1"]
    for run in runs:
        head += [f"corehttp, {_interpreter(run)}", "best of the others"]
    rows = []
    for name in _README_SECTIONS:
        cells = [cell for run in runs for cell in _short_cells(run.sections.get(name))]
        if any(cell != "-" for cell in cells):
            rows.append([name, *cells])
    return "\n\n".join([_table(head, rows), _costs_text(runs)])


def full_figures(runs: Sequence[Run]) -> str:
    """Return the figures of docs/benchmarks.md: for each run its conditions, tables, plots, memory and starts."""
    return "\n\n".join(_run_text(run) for run in runs)


def _short_cells(section: Mapping[str, Any] | None) -> list[str]:
    if section is None:
        return ["-", "-"]
    found = {name: median(values) for name, values in ratios(section).items() if not name.endswith("+log")}
    others = {name: value for name, value in found.items() if name != _OWN}
    best = min(others, key=others.__getitem__, default=None)
    return [
        f"{found[_OWN]:.2f}" if _OWN in found else "-",
        "-" if best is None else f"{others[best]:.2f} {best}",
    ]


def _costs_text(runs: Sequence[Run]) -> str:
    """Return a table of what access logs, memory and starts take, of corehttp and uvicorn in each run."""
    head = ["what it takes"]
    columns: list[Mapping[str, str]] = []
    for run in runs:
        head += [f"corehttp, {_interpreter(run)}", "uvicorn"]
        columns += [_costs(run, _OWN), _costs(run, "uvicorn")]
    names = dict.fromkeys(name for column in columns for name in column)
    return _table(head, [[name, *(column.get(name, "-") for column in columns)] for name in names])


def _costs(run: Run, server: str) -> dict[str, str]:
    """Return what one server's access log, memory and starts take."""
    found: dict[str, str] = {}
    for cost in run.sections.get("access-log", {}).get("access_log", []):
        if cost["name"] == server:
            found["CPU of a request with an access log, without = 1"] = f"{1 + cost['cpu_share']:.2f}"
    for row in run.figures.get("memory", {}).get("rows", []):
        if row["name"] == server:
            supervisor, each = row["idle"]["supervisor"], row["bytes_per_connection_later"]
            found["idle worker, MB"] = f"{row['idle']['worker']['pss'] / 1e6:.1f}"
            found["supervisor, MB"] = "-" if supervisor is None else f"{supervisor['pss'] / 1e6:.1f}"
            found["idle connection, kB"] = "-" if each is None else f"{each / 1e3:.1f}"
    for row in run.figures.get("startup", {}).get("rows", []):
        if row["name"] == server:
            name = f"ms to the first answer, {row['workers']} worker{'s' if row['workers'] > 1 else ''}"
            found[name] = f"{row['seconds']['median'] * 1e3:.0f}"
    return found


def _run_text(run: Run) -> str:
    figures = run.figures
    versions = figures["versions"]
    conditions = (
        f"{figures['date']}, {versions['machine']}, {versions['kernel']}, load average {figures['load_average']}; "
        f"corehttp {versions['corehttp']}; `{figures['command']}`, with the order's seed {figures['seed']}."
    )
    parts = [f"### {versions['python']}", conditions]
    for group, title in _TITLES.items():
        sections = run.group(group)
        if sections:
            parts += [f"#### {title}", f"![{title}](benchmarks/{plot_name(run, group)})", _group_text(sections)]
    parts += [text for text in (_scaling_text(run), _memory_text(run), _startup_text(run)) if text]
    parts.append("#### Where others need less CPU\n\n" + _losses(run))
    parts.append("#### What failed, and what else is to be known\n\n" + _incidents(run))
    commands = command_lines(figures["sections"])
    lines = "\n".join(f"- {name}: `{command}`" for name, command in commands.items())
    parts.append(f"#### Command lines, as each first occurs\n\n{lines}")
    parts.append("#### Versions\n\n" + "; ".join(f"{name} {version}" for name, version in versions.items()) + ".")
    return "\n\n".join(parts)


def _group_text(sections: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for section in sections:
        cpu, speed = ratios(section), ratios(section, "requests_per_second")
        shown = section["name"]
        for row in sorted(section["rows"], key=lambda row: row["cpu_us"]):
            name = row["name"]
            busy = f"{row['server_cpus']:.2f} / {row['load_cpus']:.2f} / {row['other_cpus']:.2f}"
            rows.append(
                [
                    shown,
                    f"**{name}**" if name.startswith(_OWN) else name,
                    _with_spread(cpu.get(name)),
                    f"{row['cpu_us']:,.1f}",
                    _with_spread(speed.get(name)),
                    f"{row['requests_per_second']:,.0f}",
                    f"{row['p99_ms']:.1f}",
                    busy,
                ]
            )
            shown = ""
    head = ["workload", "server", "CPU ratio (rounds)", "CPU us", "requests/s ratio (rounds)", "requests/s", "p99 ms"]
    return _table([*head, "busy CPUs: server / load / other"], rows)


def _with_spread(values: Sequence[float] | None) -> str:
    if not values:
        return "-"
    if min(values) == max(values):
        return f"{values[0]:.2f}"
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _scaling_text(run: Run) -> str:
    rows = []
    for name in ("read-content", "read-in-thread"):
        one, two = run.sections.get(name), run.sections.get(f"{name}-2")
        if one is None or two is None:
            continue
        speeds = {row["name"]: row["requests_per_second"] for row in one["rows"]}
        for row in two["rows"]:
            if row["name"] in speeds:
                speed, before = row["requests_per_second"], speeds[row["name"]]
                rows.append([name, row["name"], f"{before:,.0f}", f"{speed:,.0f}", f"{speed / before:.2f}"])
    if not rows:
        return ""
    two = run.sections.get("read-content-2") or run.sections["read-in-thread-2"]
    shared = set(two["server_cpus"]) & set(two["load_cpus"])
    note = (
        "The load generator had no CPU of its own beside two workers: these figures say how they share the CPUs with "
        "it, and nothing of how servers scale."
        if shared
        else "The load generator had CPUs of its own."
    )
    head = ["workload", "server", "requests/s, one worker", "two workers", "ratio"]
    return f"#### Two workers\n\n{note}\n\n{_table(head, rows)}"


def _memory_text(run: Run) -> str:
    memory = run.figures.get("memory")
    if not memory:
        return ""
    rows = []
    for row in memory["rows"]:
        supervisor, worker = row["idle"]["supervisor"], row["idle"]["worker"]
        each = [row["bytes_per_connection"], row["bytes_per_connection_later"]]
        rows.append(
            [
                row["name"],
                "-" if supervisor is None else f"{supervisor['pss'] / 1e6:.1f}",
                f"{worker['pss'] / 1e6:.1f}",
                *("-" if value is None else f"{value:,.0f}" for value in each),
            ]
        )
    habit = memory["habit"]
    head = ["server", "supervisor, MB", "worker, MB", "bytes per idle connection", f"{habit['settle']:g} s later"]
    text = (
        f"PSS; {habit['connections']:,} connections, each after {habit['requests']} requests with a browser's fields."
    )
    return f"#### Memory\n\n{text}\n\n{_table(head, rows)}"


def _startup_text(run: Run) -> str:
    startup = run.figures.get("startup")
    if not startup:
        return ""
    rows = []
    for row in startup["rows"]:
        cells = [
            f"{spread['median'] * 1e3:.0f} ({spread['least'] * 1e3:.0f} to {spread['most'] * 1e3:.0f})"
            for spread in (row["seconds"], row["cpu_seconds"])
        ]
        rows.append([row["name"], str(row["workers"]), *cells])
    head = ["server", "workers", "first answer, ms", "CPU until then, ms"]
    return f"#### From the start to the first answer\n\n{_table(head, rows)}"


def _losses(run: Run) -> str:
    """Return a line for each section in which another server needs less CPU than corehttp."""
    lines = []
    for name in (name for names in GROUPS.values() for name in names if name in run.sections):
        found = {peer: median(values) for peer, values in ratios(run.sections[name]).items()}
        own = found.get(_OWN)
        better = sorted((value, peer) for peer, value in found.items() if own is not None and value < own)
        if better:
            lines.append(f"- {name} (corehttp {own:.2f}): {', '.join(f'{peer} {value:.2f}' for value, peer in better)}")
    return "\n".join(lines) or "Nowhere in this run."


def _incidents(run: Run) -> str:
    found: dict[str, list[str]] = {}
    for section in run.figures["sections"]:
        texts = [_first_line(reason) for reason in section["failed"].values()]
        texts += [f"{peer} was left out: {why}" for peer, why in section["left_out"].items()]
        for text in (*texts, *section["notes"]):
            found.setdefault(text, []).append(section["name"])
    return "\n".join(f"- {', '.join(names)}: {text}" for text, names in found.items()) or "Nothing."


def _first_line(text: str) -> str:
    return text.partition("\n")[0].removesuffix("; its output:")


def _interpreter(run: Run) -> str:
    """Return a short name of the interpreter, such as "CPython 3.13 unoptimised"."""
    _, version, kind = run.name.split("-")
    return f"{run.figures['versions']['python'].partition(' ')[0]} {version} {kind}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
