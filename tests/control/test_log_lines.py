"""What the lines of log files say, and how `corehttp logs` shows them."""

import json

import pytest

from corehttp.control.log_lines import LogLine, as_json, is_wanted, last_entries, merged, parse, place, rendered

OWN = "2026-11-30 10:00:00.250 WARNING  [worker 2] the disk is full"
REQUEST = '2026-11-30 10:00:00.500 [worker 12] 192.0.2.1:5000 "GET /a HTTP/1.1" 404 12 1.500 ms'
CLOSED = '2026-11-30 10:00:00.500 [worker 1] - "WS /a" closed 1000, 1 messages (2 bytes) in, 0 (0) out, 0.100 s'
JSON_OWN = json.dumps({"time": "2026-11-30T10:00:00.250Z", "level": "error", "worker": "supervisor", "message": "no"})
JSON_REQUEST = json.dumps(
    {"time": "2026-11-30T10:00:00.250Z", "level": "info", "worker": "worker 1", "path": "/", "status": 503}
)


def parsed(*raw: str, holds: str = "both") -> list[LogLine]:
    found: list[LogLine] = []
    for line in raw:
        found.append(parse(holds, line, found[-1] if found else None))
    return found


@pytest.mark.parametrize(
    ("raw", "source", "who", "level", "text"),
    [
        (OWN, "log", "worker 2", "warning", "2026-11-30 10:00:00.250 WARNING  the disk is full"),
        (
            REQUEST,
            "access",
            "worker 12",
            "warning",
            '2026-11-30 10:00:00.500 192.0.2.1:5000 "GET /a HTTP/1.1" 404 12 1.500 ms',
        ),
        (CLOSED, "access", "worker 1", "info", CLOSED.replace("[worker 1] ", "")),
        (JSON_OWN, "log", "supervisor", "error", JSON_OWN),
        (JSON_REQUEST, "access", "worker 1", "error", JSON_REQUEST),
    ],
)
def test_a_line_says_who_says_it_and_how_grave_it_is(raw: str, source: str, who: str, level: str, text: str) -> None:
    [line] = parsed(raw)
    assert (line.source, line.who, line.level, line.text, line.raw) == (source, who, level, text, raw)
    assert line.begins
    assert line.time % 1 in (0.25, 0.5)


def test_what_follows_a_line_is_of_the_same_process_and_level() -> None:
    head, *rest = parsed(OWN, "Traceback (most recent call last):", "ValueError: no")
    assert {(line.who, line.level, line.time) for line in rest} == {(head.who, head.level, head.time)}
    assert not any(line.begins for line in rest)


@pytest.mark.parametrize(
    "raw",
    ['{"time": "', '{"time": "x"}', '{"time": "x", "worker": 1, "level": "info"}', "[1]", "", "\x1b]0;title\x07"],
)
def test_what_is_no_line_of_the_server_is_shown_as_it_is(raw: str) -> None:
    [line] = parsed(raw, holds="log")
    assert (line.who, line.text, line.time) == ("", raw, 0.0)
    assert rendered(line, colour=False).isprintable()


def test_each_line_of_an_access_log_of_another_form_is_an_entry() -> None:
    lines = parsed("192.0.2.1 - - 200", "192.0.2.1 - - 404", holds="access")
    assert [line.begins for line in lines] == [True, True]
    assert rendered(lines[0], colour=True) == "access     | 192.0.2.1 - - 200"


def test_a_wrong_time_is_none() -> None:
    [line] = parsed(JSON_OWN.replace("2026-11-30T10", "2026-13-30T10"))
    assert line.time == 0.0


def test_a_line_is_shown_behind_its_process_in_the_colour_of_its_level() -> None:
    [line] = parsed(OWN)
    assert rendered(line, colour=False) == "worker 2   | 2026-11-30 10:00:00.250 WARNING  the disk is full"
    assert rendered(line, colour=True) == f"\x1b[33m{rendered(line, colour=False)}\x1b[0m"
    assert rendered(parsed(OWN.replace("WARNING ", "INFO    "))[0], colour=True).startswith("worker 2 ")


def test_what_a_client_has_sent_steers_no_terminal() -> None:
    [line] = parsed(REQUEST.replace("/a", "/\x9b31m\x1b[31m\u202e"))
    assert r"/\x9b31m\x1b[31m\u202e" in rendered(line, colour=False)


def test_a_line_in_json_is_the_line_itself_and_what_it_says() -> None:
    [line] = parsed(OWN)
    assert as_json(line) == {"source": "log", "worker": "worker 2", "level": "warning", "line": OWN}
    assert as_json(parsed("?", holds="access")[0])["worker"] is None


def test_lines_are_chosen_by_source_and_by_worker() -> None:
    own, request = parsed(OWN, REQUEST)
    assert is_wanted(own, ("log", "access"), None)
    assert is_wanted(own, ("log",), 2)
    assert not is_wanted(own, ("log",), 1)
    assert not is_wanted(request, ("log",), None)
    assert not is_wanted(request, ("log",), 12)


def test_the_last_entries_come_with_their_tracebacks() -> None:
    lines = parsed("rest of another", OWN, "Traceback", OWN, "Traceback", holds="log")
    assert last_entries(lines, 1) == lines[3:]
    assert last_entries(lines, 2) == lines
    assert last_entries(lines, 0) == []
    assert last_entries([], 5) == []


def test_files_are_merged_by_time_and_each_keeps_its_order() -> None:
    early, late = (OWN.replace("00.250", text) for text in ("00.100", "00.900"))
    log = parsed(late, "Traceback", early, holds="log")
    access = parsed(REQUEST)
    assert merged([log, access]) == [access[0], *log]


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ({"kind": "journal", "unit": "shop.service"}, "to the journal: journalctl -f -u shop.service"),
        ({"kind": "journal"}, "to the journal: journalctl -f _PID=7"),
        ({"kind": "terminal", "path": "/dev/pts/3"}, "to the terminal /dev/pts/3, where the service was started"),
        (
            {"kind": "pipe"},
            "to a pipe, whose reader has them: `docker logs`, `kubectl logs`, or what started the service",
        ),
        ({"kind": "off"}, "nowhere: --no-access-log"),
        ({"kind": "nothing"}, "nowhere: the stream is closed, or /dev/null"),
        ({}, "nowhere: the stream is closed, or /dev/null"),
    ],
)
def test_where_lines_go_without_a_file(where: dict[str, object], text: str) -> None:
    assert place(where, 7) == text
