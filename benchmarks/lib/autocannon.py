"""autocannon as the load generator: the one that Node.js tutorials use."""

import json

from benchmarks.lib.load import Load, LoadError, Outcome, first_line, output_of, program
from benchmarks.lib.workloads import Varying, Workload


class Autocannon:
    name = "autocannon"

    def version(self) -> str:
        return first_line([program("autocannon"), "--version"]).removeprefix("autocannon ")

    def can(self, workload: Workload) -> bool:
        """Whether all requests are alike, without a body, and on connections that are kept."""
        return (
            not workload.is_websocket
            and workload.method == "GET"
            and not workload.closes
            and workload.varying is Varying.NOTHING
        )

    def run(self, load: Load) -> Outcome:
        return parse(output_of(self.command(load), load.seconds))

    def command(self, load: Load) -> list[str]:
        command = [program("autocannon"), "--json", "--connections", str(load.connections)]
        command += [text for name, value in load.workload.fields for text in ("--headers", f"{name}={value}")]
        return [*command, "--duration", str(load.seconds), load.url]


def parse(output: str) -> Outcome:
    """Return what autocannon's JSON says, with latencies in whole milliseconds; raises LoadError if it is none."""
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
