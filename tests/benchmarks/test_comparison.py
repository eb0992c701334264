"""What the benchmark makes of samples, of servers that fail, and of its arguments."""

import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import gettempdir
from types import SimpleNamespace
from typing import cast

import pytest

from benchmarks.lib import rounds
from benchmarks.lib.applications import APPLICATIONS, ROOT
from benchmarks.lib.autocannon import Autocannon
from benchmarks.lib.autocannon import parse as parse_autocannon
from benchmarks.lib.load import Load, LoadError, MissingToolError, Outcome, program
from benchmarks.lib.placement import Placement
from benchmarks.lib.report import Conditions, command_lines, document, notes, rounded, rows, section_text, shown
from benchmarks.lib.rounds import Sample, Slice, put_load, visit_in_rounds
from benchmarks.lib.running_server import RunningServer
from benchmarks.lib.servers import PEERS, Launch
from benchmarks.lib.suite import SHORT_SUITE, SUITE, TOOLS, Pace, Report, Section
from benchmarks.lib.summary import Spread, log_costs, summarise
from benchmarks.lib.websocket_load import EchoLoad
from benchmarks.lib.workloads import WORKLOADS, Varying
from benchmarks.lib.wrk import Wrk
from benchmarks.lib.wrk import parse as parse_wrk
from benchmarks.peers import parse, plan_of

PACE = Pace(rounds=3, connections=64, seconds=1, warm_up=0.5)
HELLO = WORKLOADS["hello"]


def sample(cpu_us: float, *, speed: float = 1000.0, other: float = 0.0, log_bytes: int = 0) -> Sample:
    return Sample(1000, speed, cpu_us, 1.0, 20_000_000, 0, 0, 1.0, 0.5, other, log_bytes)


def report(rounds_: list[dict[str, Sample]], *, load: frozenset[int] = frozenset({1})) -> Report:
    section = Section("hello", "hello", ("corehttp", "uvicorn"))
    found = Report(section, Placement(frozenset({0}), load), {}, date="2026-01-01T00:00:00+00:00", load_average="0 0 0")
    found.rounds = rounds_
    return found


def conditions() -> Conditions:
    return Conditions(
        "2026-01-01T00:00:00+00:00", "python -m benchmarks.peers", PACE, {"python": "CPython"}, 1, "0 0 0"
    )


ROUNDS = [
    {"corehttp": sample(10, speed=2000), "uvicorn": sample(20)},
    {"corehttp": sample(30, speed=1500), "uvicorn": sample(40)},
    {"corehttp": sample(12, speed=1000), "uvicorn": sample(20)},
]


def test_a_ratio_is_the_median_of_the_ratios_within_each_round_with_its_spread() -> None:
    row = summarise("corehttp", ROUNDS, "uvicorn")
    assert row.cpu_ratio == Spread(0.6, 0.5, 0.75)
    assert row.speed_ratio == Spread(1.5, 1.0, 2.0)
    assert row.cpu_us == 12


def test_a_server_has_no_ratio_where_the_baseline_was_not_measured() -> None:
    row = summarise("corehttp", [{"corehttp": sample(10)}], "uvicorn")
    assert row.cpu_ratio is None
    assert row.speed_ratio is None


def test_the_cost_of_an_access_log_is_taken_within_each_round() -> None:
    (cost,) = log_costs([{"corehttp": sample(10), "corehttp+log": sample(12, log_bytes=80_000)}])
    assert (cost.cpu_us, round(cost.cpu_share, 3), cost.bytes_per_request) == (2, 0.2, 80)


def test_a_table_has_a_line_for_each_server_and_columns_of_equal_width() -> None:
    lines = section_text(report(ROUNDS), PACE).splitlines()
    assert lines[0] == "== hello: 1 worker, wrk, 64 connections, 3 x 1 s"
    assert [line.split()[0] for line in lines[2:5]] == ["server", "corehttp", "uvicorn"]
    assert lines[3].split()[:7] == ["corehttp", "1,500", "1.50x", "12.0", "0.60x", "0.50", "0.75"]
    assert len({len(line) for line in lines[2:5]}) == 1


def test_a_table_says_when_its_figures_are_to_be_read_with_care() -> None:
    few = report([{"corehttp": sample(10, other=0.5), "uvicorn": sample(20)}], load=frozenset({0, 1}))
    texts = " ".join(notes(few, PACE, rows(few)))
    assert "too few rounds (1)" in texts
    assert "no CPU of its own" in texts
    assert "not quiet" in texts
    quiet = report(ROUNDS)
    assert notes(quiet, PACE, rows(quiet)) == []


def test_a_table_says_that_a_short_warm_up_wrongs_a_jit_compiler() -> None:
    found = report([{"node": sample(10), "uvicorn": sample(20)}] * 3)
    found.section = Section("hello", "hello", ("node", "uvicorn"))
    assert "JIT compiler" in section_text(found, Pace(3, 64, 1, warm_up=0.1))
    assert "JIT compiler" not in section_text(found, PACE)


def test_a_server_that_is_never_idle_is_named() -> None:
    found = report(ROUNDS)
    found.restless = {"corehttp": 0.5}
    assert "note: corehttp keeps CPUs busy while nobody asks it anything" in section_text(found, PACE)


@pytest.fixture
def wrk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of the name of wrk that is found, on machines without wrk too."""
    (tmp_path / "wrk").write_text("#!/bin/sh\n")
    (tmp_path / "wrk").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


@pytest.mark.usefixtures("wrk")
def test_the_document_can_be_written_as_json_and_has_every_sample() -> None:
    found = report(ROUNDS)
    found.commands, found.ports = {"corehttp": [sys.executable, "-m", "corehttp", "--port", "4711"]}, {"corehttp": 4711}
    written = json.loads(json.dumps(rounded(document([found], conditions()))))
    (section,) = written["sections"]
    assert section["commands"] == {"corehttp": "python -m corehttp --port PORT"}
    load = "wrk --threads 1 --connections 64 --duration 1s --script benchmarks/lib/wrk_requests.lua"
    assert section["load_command"] == f"{load} http://127.0.0.1:PORT/ -- GET 0 nothing keeps"
    assert command_lines(written["sections"]).keys() == {"corehttp", "wrk"}
    assert [each["corehttp"]["cpu_us"] for each in section["rounds"]] == [10, 30, 12]
    assert section["rows"][0]["cpu_ratio"] == {"median": 0.6, "least": 0.5, "most": 0.75}


def test_a_command_line_is_shown_without_the_directories_of_this_machine() -> None:
    command = ["/usr/bin/node", f"{ROOT}/benchmarks/lib/node_cluster.js", "5000"]
    assert shown(command, 5000) == "node benchmarks/lib/node_cluster.js PORT"
    pm2 = PEERS["pm2"].command(Launch(APPLICATIONS["hello"], 5000, directory=f"{gettempdir()}/corehttp-bench-x1y2"))
    assert shown(pm2, 5000).startswith(
        "env PM2_HOME=DIRECTORY/pm2-PORT 'PEER=PORT 0' pm2-runtime start benchmarks/lib/"
    )


def test_figures_are_rounded_to_six_digits_wherever_they_are() -> None:
    assert rounded({"a": [1.23456789, 7], "b": ("x", None)}) == {"a": [1.23457, 7], "b": ["x", None]}


class Tool:
    """A load generator that returns or raises what it is given for each port."""

    name = "tool"

    def __init__(self, outcomes: dict[int, Outcome | LoadError]) -> None:
        self._outcomes = outcomes

    def version(self) -> str:
        return "1"

    def can(self, workload: object) -> bool:
        return True

    def command(self, load: Load) -> list[str]:
        return []

    def run(self, load: Load) -> Outcome:
        outcome = self._outcomes[load.port]
        if isinstance(outcome, LoadError):
            raise outcome
        return outcome


SOUND = Outcome(requests=100, seconds=1.0, p99_ms=1.0, socket_errors=0, error_statuses=0)


@pytest.fixture
def make_server(tmp_path: Path) -> Callable[..., RunningServer]:
    """A server of this name that is this very process, with the calls of `pause` and `resume` that came in `calls`."""

    def make(name: str, port: int, calls: list[str]) -> RunningServer:
        output = Path(tmp_path, name)
        output.write_text("what the server printed\n")
        server = SimpleNamespace(
            name=name,
            port=port,
            pid=1,
            output=output,
            tail=output.read_text,
            pause=lambda: calls.append(f"pause {name}"),
            resume=lambda: calls.append(f"resume {name}"),
        )
        return cast(RunningServer, server)

    return make


def slice_of(outcomes: dict[int, Outcome | LoadError]) -> Slice:
    return Slice(Tool(outcomes), HELLO, 64, 1, frozenset({0}))


@pytest.fixture(autouse=True)
def _nothing_is_pinned_or_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "cpu_nanoseconds", lambda pid: 0)
    monkeypatch.setattr(rounds, "tree_pss", lambda pid: 0)
    monkeypatch.setattr("benchmarks.lib.placement.os.sched_setaffinity", lambda pid, cpus: None)


def test_a_server_that_fails_is_named_and_left_out_of_every_round(make_server: Callable[..., RunningServer]) -> None:
    servers = [make_server("corehttp", 1, []), make_server("uvicorn", 2, [])]
    visits = visit_in_rounds(servers, slice_of({1: SOUND, 2: LoadError("wrk exited")}), random.Random(1), rounds=3)
    assert [list(each) for each in visits.rounds] == [["corehttp"]] * 3
    assert visits.failed.keys() == {"uvicorn"}
    assert "uvicorn: wrk exited" in visits.failed["uvicorn"]
    assert "what the server printed" in visits.failed["uvicorn"]


def test_where_all_servers_fail_there_are_no_rounds(make_server: Callable[..., RunningServer]) -> None:
    visits = visit_in_rounds(
        [make_server("uvicorn", 1, [])], slice_of({1: LoadError("no")}), random.Random(1), rounds=2
    )
    assert visits.rounds == []
    assert visits.failed.keys() == {"uvicorn"}


def test_a_missing_load_generator_ends_the_run(make_server: Callable[..., RunningServer]) -> None:
    with pytest.raises(MissingToolError):
        visit_in_rounds(
            [make_server("uvicorn", 1, [])], slice_of({1: MissingToolError("wrk")}), random.Random(1), rounds=1
        )


def test_a_server_that_is_never_idle_runs_only_while_it_is_visited(make_server: Callable[..., RunningServer]) -> None:
    calls: list[str] = []
    servers = [make_server("corehttp", 1, calls), make_server("fastpysgi", 2, calls)]
    visit_in_rounds(servers, slice_of({1: SOUND, 2: SOUND}), random.Random(1), rounds=2, restless={"fastpysgi": 1.0})
    assert calls == ["resume fastpysgi", "pause fastpysgi"] * 2


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(Outcome(0, 1.0, 0.0, 5, 0), id="no answer"),
        pytest.param(Outcome(100, 1.0, 0.0, 0, 2), id="errors"),
    ],
)
def test_a_server_that_answers_nothing_or_with_errors_has_failed(
    make_server: Callable[..., RunningServer], outcome: Outcome
) -> None:
    with pytest.raises(LoadError, match=r"uvicorn: \d+ requests were answered, \d of them with an error"):
        put_load(make_server("uvicorn", 1, []), slice_of({1: outcome}))


def test_what_wrk_and_autocannon_print_is_read_and_anything_else_refused() -> None:
    line = 'summary {"requests":9,"duration_us":2000000,"p99_us":1500,"socket_errors":1,"error_statuses":2}'
    assert parse_wrk(f"Running\n{line}\n") == Outcome(9, 2.0, 1.5, 1, 2)
    with pytest.raises(LoadError, match="no summary"):
        parse_wrk("Running\n")
    text = json.dumps({"2xx": 8, "non2xx": 1, "duration": 2, "latency": {"p99": 3}, "errors": 4})
    assert parse_autocannon(text) == Outcome(9, 2, 3, 4, 1)
    for wrong in ("no JSON", "{}"):
        with pytest.raises(LoadError, match="something else"):
            parse_autocannon(wrong)


def test_a_load_generator_that_is_not_installed_is_named() -> None:
    with pytest.raises(MissingToolError, match="surely-not-installed is not on PATH"):
        program("surely-not-installed")


def test_every_section_has_a_tool_that_can_make_its_requests_and_peers_that_exist() -> None:
    for section in (*SUITE, *SHORT_SUITE):
        assert TOOLS[section.tool].can(WORKLOADS[section.workload])
        for name in section.peers:
            assert PEERS[name.removesuffix("+log")].serves(WORKLOADS[section.workload].application)
        assert section.baseline.startswith("uvicorn")
    assert len({section.name for section in SUITE}) == len(SUITE)


def test_each_tool_is_used_for_what_it_can_do() -> None:
    echo = WORKLOADS["websocket-125-50"]
    assert [tool.can(echo) for tool in (Wrk(), Autocannon(), EchoLoad())] == [False, False, True]
    assert not EchoLoad().can(HELLO)
    assert WORKLOADS["paths"].varying is Varying.PATH
    assert not Autocannon().can(WORKLOADS["paths"])
    assert EchoLoad().command(Load(80, echo, 50, 1))[1:] == [
        "-m",
        "benchmarks.lib.websocket_load",
        "80",
        "125",
        "50",
        "1",
    ]


@pytest.mark.parametrize("name", PEERS)
def test_every_peer_is_started_on_the_given_port(name: str) -> None:
    command = PEERS[name].command(Launch(APPLICATIONS["hello"], 4711, directory="somewhere"))
    assert "4711" in " ".join(command)


def test_one_chooses_entries_workloads_or_the_short_suite() -> None:
    only = plan_of(parse(["--only", "hello,memory"]), ["--only", "hello,memory"])
    assert [section.name for section in only.sections] == ["hello"]
    assert only.others == ["memory"]
    assert only.command == "python -m benchmarks.peers --only hello,memory"
    whole = plan_of(parse([]), [])
    assert len(whole.sections) == len(SUITE)
    assert whole.others == ["startup", "memory"]
    short = plan_of(parse(["--short"]), ["--short"])
    assert short.others == []
    assert short.pace.total == 60
    own = plan_of(parse(["--workload", "websocket-125-1", "--workers", "2"]), [])
    assert [(section.tool, section.workers) for section in own.sections] == [("websocket_load", 2)]


def test_a_run_is_recorded_under_the_name_of_its_interpreter(tmp_path: Path) -> None:
    target = plan_of(parse(["--record", str(tmp_path)]), []).target
    assert target is not None
    assert target.parent == tmp_path
    assert target.name.startswith(f"cpython-3.{sys.version_info.minor}-")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "nothing"], "unknown entry 'nothing'; choose from hello"),
        (["--peers", "nobody"], "unknown server 'nobody'; choose from corehttp"),
        (["--workers", "2"], "need --workload"),
        (["--short", "--only", "hello"], "give one of them"),
        (["--workload", "post", "--tool", "autocannon"], "cannot make the requests of post"),
        (["--json", "a", "--record", "b"], "give one of them"),
        (["--rounds", "0"], "must be 1 or more"),
    ],
)
def test_a_wrong_argument_is_answered_with_what_would_be_right(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(arguments)
    assert message in capsys.readouterr().err
