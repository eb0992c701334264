"""autocannon as the load generator: the one that Node.js tutorials use."""

import json

from benchmarks.lib.load import Load, LoadError, Outcome, first_line, output_of, program
from benchmarks.lib.workloads import Varying, Workload


class Autocannon:
    name = "autocannon"

    def version(self) -> str:
        return first_line([program("autocannon"), "--version"]).removeprefix("autocannon ")

    def can(self, workload: Workload) -> bool:
        """Whether all requests are alike, on connections that are kept."""
        return workload.method == "GET" and not workload.closes and workload.varying is Varying.NOTHING

    def run(self, load: Load) -> Outcome:
        command = [program("autocannon"), "--json", "--connections", str(load.connections)]
        command += [text for name, value in load.workload.fields for text in ("--headers", f"{name}={value}")]
        command += ["--duration", str(load.seconds), load.url]
        return parse(output_of(command, load.seconds))


def parse(output: str) -> Outcome:
    """Reads autocannon's JSON; raises LoadError. Its latencies are whole milliseconds."""
    try:
        result = json.loads(output)
        return Outcome(
            requests=result["2xx"] + result["non2xx"],
            seconds=result["duration"],
            p99_ms=result["latency"]["p99"],
            socket_errors=result["errors"],  # timeouts included
            error_statuses=result["non2xx"],
        )
    except (ValueError, KeyError) as error:
        raise LoadError(f"autocannon printed something else than its JSON: {output}") from error
