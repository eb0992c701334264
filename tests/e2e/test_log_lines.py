"""The log as an operator sees it: requests on standard output, the server on standard error."""

import json
import re
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Start
from tests.kit.server_process import APP, until

pytestmark = pytest.mark.e2e

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
UTC = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def test_text_lines_name_the_worker(start: Start) -> None:
    server = start(*APP)
    httpx.get(f"{server.url}/some%20path?q=1")
    [line] = until(lambda: server.stdout.splitlines(), "the access log")
    assert re.fullmatch(
        rf'{TIME} \[worker 1\] 127\.0\.0\.1:\d+ "GET /some%20path\?q=1 HTTP/1\.1" 200 5 \d+\.\d{{3}} ms', line
    )
    assert server.stop() == 0
    assert len(server.stdout.splitlines()) == 1
    for line in server.stderr.splitlines():
        assert re.match(rf"{TIME} INFO     \[(supervisor|worker 1)\] ", line)


def test_json_lines_have_all_fields_and_an_exception_has_its_traceback(start: Start) -> None:
    server = start(*APP, "--log-format", "json", "--workers", "2")
    httpx.get(f'{server.url}/"quoted"?q=1')
    assert httpx.get(f"{server.url}/stream").status_code == 500  # the query lacks `lines`
    assert server.stop() == 0

    requests = [json.loads(line) for line in server.stdout.splitlines()]
    [entry] = [request for request in requests if request["status"] == 200]
    assert re.fullmatch(UTC, entry["time"])
    assert entry["level"] == "info"
    assert entry["worker"] in ("worker 1", "worker 2")
    assert re.fullmatch(r"127\.0\.0\.1:\d+", entry["client"])
    assert entry["method"] == "GET"
    assert entry["path"] in ('/"quoted"', "/%22quoted%22")
    assert entry["query"] == "q=1"
    assert entry["bytes"] == 5
    assert 0 <= entry["duration"] < 10

    messages = [json.loads(line) for line in server.stderr.splitlines()]
    assert {"time", "level", "worker", "message"} <= set.intersection(*(set(message) for message in messages))
    assert messages[0]["worker"] == "supervisor"
    [error] = [message for message in messages if message["level"] == "error"]
    assert error["message"] == "exception in the application: GET /stream"
    assert error["traceback"].endswith("KeyError: 'lines'")


def test_what_is_switched_off_is_silent(start: Start) -> None:
    server = start(*APP, "--no-access-log", "--log-level", "debug")
    httpx.get(server.url)
    assert server.stop() == 0
    assert server.stdout == ""
    assert " DEBUG " in server.stderr


def test_a_path_cannot_forge_a_line(start: Start, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(
        "async def app(scope, receive, send):\n    raise RuntimeError('as it should')\n"
    )
    server = start("failing:app", "--app-dir", str(tmp_path), "--port", "0", "--lifespan", "off")
    assert httpx.get(f"{server.url}/a%0A2026-01-01%20INFO%20forged%1b[31m").status_code == 500
    assert server.stop() == 0
    assert r"exception in the application: GET /a\n2026-01-01 INFO forged\x1b[31m" in server.stderr
