"""What verbs print, also of a service that says less, more or other things than it should."""

import pytest

from corehttp.control import reports
from corehttp.control.tables import NOTHING, age, moment, number, size, table

WORKER = {
    "slot": 1,
    "pid": 7,
    "generation": 3,
    "state": "serving",
    "started_at": "1970-01-01T00:00:00.000+00:00",
    "cpu_percent": 12.4,
    "rss_bytes": 30 * 2**20,
    "connections": 5,
    "websockets": 2,
    "in_flight": 24,
    "requests_per_second": 10.25,
    "p50_ms": None,
    "starts": 2,
    "last_exit": {"cause": "crash", "status": "SIGKILL", "at": "1970-01-01T00:00:30.000+00:00"},
}
SERVICE = {
    "name": "main-8000",
    "pid": 1,
    "version": "1.2.3",
    "state": "serving",
    "started_at": "1970-01-01T00:00:00.000+00:00",
    "generation": 3,
    "target": 2,
    "reloads": 4,
    "rss_bytes": 3 * 2**30,
    "listeners": [{"address": "http://127.0.0.1:8000", "backlog": 1}],
    "last_reload": {"at": "1970-01-01T00:01:00.000+00:00", "ok": False, "reason": "worker 1 could not start"},
    "workers": [WORKER],
}


def test_a_row_for_each_service() -> None:
    assert reports.services([SERVICE, {"name": "b", "state": "no answer"}], 90.0) == (
        "NAME       PID  STATE      WORKERS  GEN     UP  ADDRESS                REQ/S  ERR/S   RSS  RELOADS\n"
        "main-8000    1  serving        1/2    3  1m30s  http://127.0.0.1:8000   10.2      -  3.0G        4\n"
        "b            -  no answer        -    -      -  -                          -      -     -        -"
    )


def test_one_service_whole() -> None:
    assert reports.status(SERVICE, 90.0) == (
        "main-8000: serving, pid 1, generation 3, up 1m30s, corehttp 1.2.3\n"
        "\n"
        "W  PID  GEN  STATE       UP  CPU  RSS  CONN  WS  INFL  REQ/S  ERR/S  P50  P99  LAG  STARTS  LAST-EXIT\n"
        "1    7    3  serving  1m30s  12%  30M     5   2   24+   10.2      -    -    -    -       2  "
        "crash (SIGKILL) 1m0s ago\n"
        "\n"
        "listens on http://127.0.0.1:8000, 1 waiting\n"
        "last reload: 1970-01-01 00:01:00Z, 30s ago: failed: worker 1 could not start"
    )


def test_where_the_admin_listener_is() -> None:
    assert "\nadmin listener on http://127.0.0.1:9000\n" in reports.status(
        {**SERVICE, "admin": "http://127.0.0.1:9000"}, 9.0
    )


def test_until_when_certificates_are_valid() -> None:
    found = [
        {"path": "/a.crt", "not_after": "2027-02-28T10:00:00.000+00:00", "days": 90},
        {"path": "/b.crt", "not_after": "2026-11-29T10:00:00.000+00:00", "days": -1},
        {},
    ]
    assert (
        "\ncertificate /a.crt is valid for 90 days, until 2027-02-28 10:00:00Z\n"
        "certificate /b.crt has expired: 2026-11-29 10:00:00Z\n"
        "certificate - is valid for - days, until -\n"
    ) in reports.status({**SERVICE, "certificates": found}, 9.0)


@pytest.mark.parametrize(
    ("reload", "words"),
    [
        (None, "no reload yet"),
        ({"at": "1970-01-01T00:01:00Z", "ok": True}, ": done"),
        ({"at": "1970-01-01T00:01:00Z", "ok": None}, ": goes on"),
        ({"at": "soon", "ok": False}, "last reload: -, - ago: failed: -"),
    ],
)
def test_how_the_last_reload_has_ended(reload: object, words: str) -> None:
    assert reports.status({**SERVICE, "last_reload": reload}, 90.0).endswith(words)


@pytest.mark.parametrize("answer", [{}, {"workers": 5, "listeners": [1], "last_reload": 7}, {"workers": [{}, 3]}])
def test_what_is_missing_or_odd_is_a_dash(answer: dict[str, object]) -> None:
    assert "-: -, pid -" in reports.status(answer, 90.0)
    assert NOTHING in reports.services([answer], 90.0)
    assert reports.requests(answer) == "nothing is in flight"


def test_requests_cannot_steer_the_terminal() -> None:
    odd = {"slot": 1, "pid": 7, "state": "running", "age": 1.26, "method": "GET", "path": "/\x1b[2J\n"}
    assert reports.requests({"requests": [odd]}) == (
        "W  PID  STATE     AGE  METHOD  PATH\n1    7  running  1.3s  GET     /\\x1b[2J\\n"
    )


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (59, "59s"), (60, "1m0s"), (3599, "59m59s"), (3600, "1h0m"), (86400 * 3 + 7200, "3d2h"), (-5, "0s")],
)
def test_ages(seconds: int, shown: str) -> None:
    assert age("1970-01-01T00:00:00+00:00", seconds) == shown


@pytest.mark.parametrize("odd", [None, "", "yesterday", 5, "0000-99-99"])
def test_moments_that_are_none(odd: object) -> None:
    assert age(odd, 0) == moment(odd) == NOTHING


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0B"), (1023, "1023B"), (1024, "1K"), (50 * 2**20, "50M"), (2**31, "2.0G"), (None, "-"), (True, "-")],
)
def test_sizes(value: object, shown: str) -> None:
    assert size(value) == shown


def test_numbers_and_tables() -> None:
    assert [number(1), number(1.25, ".1f"), number("1"), number(True)] == ["1", "1.2", "-", "-"]
    assert table(("A", "B"), [["1", "22"], ["333", "4"]], frozenset("B")) == "  A  B\n  1  22\n333  4"


def test_options_are_shown_as_flags_have_them() -> None:
    given = [
        {"name": "port", "value": 80, "source": "--port"},
        {"name": "uds", "value": None, "source": "default"},
        {"name": "preload", "value": True, "source": "default"},
        {"name": "header", "value": ["a", "b"], "source": "COREHTTP_HEADER"},
        {"name": "timeout-exit", "value": 2.5, "source": "default"},
    ]
    assert reports.config({"options": given}) == (
        "OPTION        VALUE  SOURCE\n"
        "port          80     --port\n"
        "uds                  default\n"
        "preload       on     default\n"
        "header        a, b   COREHTTP_HEADER\n"
        "timeout-exit  2.5    default"
    )
    changed = [
        {"name": "backlog", "value": 1, "next": 2, "source": "--backlog", "needs_restart": False},
        {"name": "port", "value": 1, "next": 2, "source": "--port", "needs_restart": True},
    ]
    assert reports.config_changes({"changes": changed}) == (
        "OPTION   NOW  NEXT  SOURCE     NEEDS\n"
        "backlog  1    2     --backlog  a reload\n"
        "port     1    2     --port     a restart"
    )
    assert reports.config_changes({}) == "no option is given otherwise by now"


def test_stacks_cannot_steer_the_terminal() -> None:
    assert reports.stacks({"text": "a\x1b[2J\nb\n", "complete": True}) == "a\\x1b[2J\nb"
    assert reports.stacks({"text": "a"}).startswith("a\n\nThe interpreter does not get to tell its tasks")


def test_a_service_that_does_not_answer_has_a_line_with_the_reason() -> None:
    silent: dict[str, object] = {"name": "shop", "pid": 7, "state": "no answer", "reason": "is it stopped?"}
    assert reports.status(silent, 90.0).startswith("shop: no answer: is it stopped?\n")
