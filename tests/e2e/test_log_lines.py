"""The log as an operator sees it: requests on standard output, the server on standard error."""

import json
import re
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Start
from tests.kit.server_process import APP, until

pytestmark = [pytest.mark.e2e, pytest.mark.feature]

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


def test_the_level_trace_has_the_events_of_requests_and_of_the_lifespan_without_secrets(start: Start) -> None:
    server = start(*APP, "--log-level", "trace")
    assert httpx.get(server.url, headers={"authorization": "Bearer hidden"}).text == "hello"
    server.wait_for_log("Send {'type': 'http.response.body', 'body': <5 bytes>")
    assert server.stop() == 0
    lines = server.stderr
    assert re.search(rf"{TIME} TRACE    \[worker 1\] ASGI \[1\] Started scope=.'type': 'lifespan'", lines)
    assert re.search(r"TRACE    \[worker 1\] 127\.0\.0\.1:\d+ - ASGI \[2\] Completed", lines)
    assert "authorization <13 bytes>" in lines
    assert "hidden" not in lines


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


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_json_lines_name_the_trace_and_the_request(start: Start) -> None:
    server = start(*APP, "--log-format", "json")
    ids = {"traceparent": TRACE, "x-request-id": "7b6e-42"}
    httpx.get(server.url, headers=ids)
    assert httpx.get(f"{server.url}/stream", headers=ids).status_code == 500
    httpx.get(server.url, headers={"traceparent": TRACE.replace("00-", "ff-", 1)})
    assert server.stop() == 0
    requests = [json.loads(line) for line in server.stdout.splitlines()]
    errors = [json.loads(line) for line in server.stderr.splitlines()]
    [error] = [line for line in errors if line["level"] == "error"]
    for line in (*requests[:2], error):
        assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
        assert line["span_id"] == "b7ad6b7169203331"
        assert line["request_id"] == "7b6e-42"
    assert not {"trace_id", "span_id", "request_id"} & set(requests[2])


def test_lines_of_requests_take_the_form_that_gunicorns_have(start: Start) -> None:
    form = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" %({content-type}o)s %({x-a}i)s %(p)s'
    server = start(*APP, "--access-log-format", form)
    httpx.get(f"{server.url}/?q=1", headers={"user-agent": 'a"b', "x-a": "c", "referer": "d"}, auth=("eve", "f"))
    assert server.stop() == 0
    [line] = server.stdout.splitlines()
    time = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"
    request = r'"GET /\?q=1 HTTP/1\.1" 200 5 "d" "a\\"b" text/plain\S* c <\d+>'
    assert re.fullmatch(rf"127\.0\.0\.1 - eve {time} {request}", line), line


def test_a_form_that_cannot_be_is_refused_at_once(start: Start) -> None:
    server = start(*APP, "--access-log-format", "%(nonsense)s", ready=False)
    assert server.wait() == 2
    assert "--access-log-format: '%(nonsense)s' is not valid; it must be one line with atoms" in server.stderr
