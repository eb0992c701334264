"""`corehttp logs` against running services: what was said last, what is said next, and where it goes without a file."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Start
from tests.kit.numbered_requests import NumberedRequests
from tests.kit.server_process import APP, PATIENCE, ROOT, until, url_in
from tests.kit.verbs import NOBODY, done, environment, verb

pytestmark = pytest.mark.e2e

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@contextlib.contextmanager
def following(runtime: Path, output: Path, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`corehttp logs -f` with its output in a file, until the end of the context; then it is interrupted."""
    env = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "TMPDIR": str(runtime), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "corehttp", "logs", "-f", *words]
    with output.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=env) as run:
        try:
            yield run
            run.send_signal(signal.SIGINT)
            assert run.wait(PATIENCE) == 0
        finally:
            run.kill()


@pytest.mark.feature
def test_the_last_lines_of_both_files_come_with_their_process(start: Start, runtime: Path, tmp_path: Path) -> None:
    files = ("--log-file", str(tmp_path / "error.log"), "--access-log-file", str(tmp_path / "access.log"))
    server = start(*APP, "--workers", "2", *files, env=environment(runtime), ready=False)
    server.url = url_in(tmp_path / "error.log")
    for number in range(4):
        httpx.get(f"{server.url}/?n={number}")
    assert httpx.get(f"{server.url}/stream").status_code == 500
    until(lambda: (tmp_path / "access.log").read_text().count("\n") == 5, "the lines of the requests")

    shown = done(verb(runtime, "logs", "-n", "2")).splitlines()
    requests = [line for line in shown if " HTTP/1.1" in line]
    assert len(requests) == 2
    for line in requests:
        assert re.fullmatch(r'worker [12]   \| \S+ \S+ 127\.0\.0\.1:\d+ "GET /\S* HTTP/1\.1" \d+ \d+ \S+ ms', line)
    assert any(re.fullmatch(r"supervisor \| [\d-]+ [\d:.]+ INFO     all 2 workers ready.*", line) for line in shown)
    assert re.fullmatch(r"worker [12]   \| KeyError: 'lines'", next(line for line in shown if "KeyError" in line))

    assert " HTTP/1.1" not in done(verb(runtime, "logs", "--err"))
    one = done(verb(runtime, "logs", "--worker", "1"))
    assert {line.partition(" |")[0] for line in one.splitlines()} <= {"worker 1  "}
    entries = [json.loads(line) for line in done(verb(runtime, "logs", "--json")).splitlines()]
    assert {entry["schema"] for entry in entries} == {1}
    assert {entry["source"] for entry in entries} == {"log", "access"}
    assert Counter(entry["level"] for entry in entries if entry["source"] == "access") == {"info": 4, "error": 1}
    assert server.stop() == 0


def test_it_follows_the_file_over_rotations_and_misses_no_line(start: Start, runtime: Path, tmp_path: Path) -> None:
    access = tmp_path / "logs" / "access.log"
    access.parent.mkdir()
    options = ("--access-log-file", str(access), "--log-max-size", "4K", "--log-keep", "100")
    server = start(*APP, "--workers", "2", *options, env=environment(runtime))
    output = tmp_path / "output"

    def shown() -> list[str]:
        return re.findall(r'\| \S+ \S+ \S+ "GET /\?n=(\d+) HTTP/1.1" 200', output.read_text())

    def begun() -> bool:
        httpx.get(f"{server.url}/begun")
        return "GET /begun" in output.read_text()

    with following(runtime, output, "-n", "0"):
        until(begun, "the first line")
        with NumberedRequests(server.port, clients=2) as load:
            until((access.parent / "access.log.3").exists, "three rotations")
        until(lambda: len(shown()) >= len(load.answered), "all lines")
    assert Counter(map(int, shown())) == Counter(load.answered)
    assert server.stop() == 0


@pytest.mark.feature
def test_without_files_those_that_the_streams_lead_to_are_read(start: Start, runtime: Path) -> None:
    server = start(*APP, env=environment(runtime))
    httpx.get(server.url)
    until(lambda: server.stdout, "the line")
    shown = done(verb(runtime, "logs"))
    assert re.search(r'^worker 1   \| .* "GET / HTTP/1.1" 200 5 ', shown, re.MULTILINE)
    assert re.search(r"^supervisor \| .* INFO     corehttp \S+, pid \d+: starting", shown, re.MULTILINE)
    assert server.stop() == 0


@pytest.mark.feature
def test_without_any_file_it_says_where_lines_go(runtime: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "corehttp", *APP, "--no-access-log"]
    env = {**os.environ, **environment(runtime), "PYTHONPATH": str(ROOT)}
    with open(reader) as log, subprocess.Popen(command, cwd=tmp_path, env=env, stdout=writer, stderr=writer) as server:
        os.close(writer)
        try:
            for line in log:
                if "ready" in line:
                    break
            run = verb(runtime, "logs")
            assert (run.returncode, run.stdout) == (1, "")
            assert run.stderr == (
                "Error: there is no log file: the server's lines go to a pipe, whose reader has them: `docker logs`, "
                "`kubectl logs`, or what started the service; requests go nowhere: --no-access-log\n"
            )
        finally:
            server.terminate()
            assert server.wait(PATIENCE) == 0


@as_root
def test_a_file_that_the_user_may_not_read_is_refused(start: Start, runtime: Path, tmp_path: Path) -> None:
    control = runtime / "control.sock"
    runtime.chmod(0o755)
    group = ("--control", str(control), "--control-group", f"{NOBODY}:read")
    server = start(*APP, "--access-log-file", str(tmp_path / "access.log"), *group)
    run = verb(runtime, "logs", "--socket", str(control), user=NOBODY)
    assert run.returncode == 4, run.stderr
    assert server.stop() == 0
