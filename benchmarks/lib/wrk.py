"""wrk as the load generator: one thread, keep-alive connections, exact totals from its own summary."""

import json
from pathlib import Path

from benchmarks.lib.load import Load, LoadError, Outcome, first_line, output_of, program
from benchmarks.lib.workloads import Workload

_REQUESTS = Path(__file__).with_name("wrk_requests.lua")
_MARK = "summary "


class Wrk:
    name = "wrk"

    def version(self) -> str:
        return first_line([program("wrk"), "--version"]).partition(" Copyright")[0].removeprefix("wrk ")

    def can(self, workload: Workload) -> bool:
        """Whether the workload is made of HTTP requests."""
        return not workload.is_websocket

    def run(self, load: Load) -> Outcome:
        return parse(output_of(self.command(load), load.seconds))

    def command(self, load: Load) -> list[str]:
        workload = load.workload
        command = [program("wrk"), "--threads", "1", "--connections", str(load.connections)]
        command += ["--duration", f"{load.seconds}s", "--script", str(_REQUESTS), load.url, "--", workload.method]
        command += [str(workload.body), workload.varying.value, "closes" if workload.closes else "keeps"]
        command += [text for field in workload.fields for text in field]
        return command


def parse(output: str) -> Outcome:
    """Return what the line says that wrk_requests.lua prints; raises LoadError if there is none."""
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
