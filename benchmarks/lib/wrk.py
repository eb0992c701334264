"""wrk as the load generator: one thread, keep-alive connections, exact totals from its own summary."""

import json
from pathlib import Path

from benchmarks.lib.load import Load, LoadError, Outcome, first_line, output_of, program

_REPORT = Path(__file__).with_name("wrk_report.lua")
_MARK = "summary "


class Wrk:
    name = "wrk"

    def version(self) -> str:
        return first_line([program("wrk"), "--version"]).partition(" Copyright")[0].removeprefix("wrk ")

    def run(self, load: Load) -> Outcome:
        command = [program("wrk"), "--threads", "1", "--connections", str(load.connections)]
        command += ["--duration", f"{load.seconds}s", "--script", str(_REPORT), load.url]
        return parse(output_of(command, load.seconds))


def parse(output: str) -> Outcome:
    """Reads the line that wrk_report.lua prints; raises LoadError."""
    for line in output.splitlines():
        if line.startswith(_MARK):
            summary = json.loads(line.removeprefix(_MARK))
            return Outcome(
                requests=summary["requests"],
                seconds=summary["duration_us"] / 1e6,
                p99_ms=summary["p99_us"] / 1e3,
                socket_errors=summary["socket_errors"],
                error_statuses=summary["error_statuses"],
            )
    raise LoadError(f"wrk printed no summary: {output}")
