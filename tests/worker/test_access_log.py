"""The access log: both forms, its batches, and that it never makes a request wait."""

import contextlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

import pytest

from corehttp.protocols.observers import AccessRecord
from corehttp.worker import access_log
from corehttp.worker.access_log import AccessLog
from tests.kit.fakes import ManualTimers

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
UTC = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
RECORD: AccessRecord = ("192.0.2.1:5000", "GET", "/a%20b?q=1", "1.1", 200, 12, 1.5)


class Output(NamedTuple):
    """Standard output, as a file to be read from the start."""

    read: Callable[[], str]


@pytest.fixture
def timers() -> ManualTimers:
    return ManualTimers()


@pytest.fixture
def output(capfd: pytest.CaptureFixture[str]) -> Output:
    return Output(lambda: capfd.readouterr().out)


def note(log: AccessLog, record: AccessRecord) -> None:
    """As a connection does it."""
    log.records.append(record)
    if not log.armed:
        log.arm()


def written(log: AccessLog, output: Output, *records: AccessRecord) -> list[str]:
    for record in records:
        note(log, record)
    log.close(timeout=10)
    return output.read().splitlines()


# Its lines.


def test_a_text_line(timers: ManualTimers, output: Output) -> None:
    [line] = written(AccessLog("text", "worker 3", timers), output, RECORD)
    assert re.fullmatch(TIME + re.escape(' [worker 3] 192.0.2.1:5000 "GET /a%20b?q=1 HTTP/1.1" 200 12 1.500 ms'), line)


@pytest.mark.parametrize(("colours", "status"), [(None, "200"), (False, "200"), (True, "\x1b[32m200\x1b[0m")])
def test_a_status_has_a_colour_where_it_is_wanted(
    timers: ManualTimers, output: Output, colours: bool | None, status: str
) -> None:
    [line] = written(AccessLog("text", "worker 3", timers, colours=colours), output, RECORD)
    assert line.endswith(f' HTTP/1.1" {status} 12 1.500 ms')


def test_a_text_line_without_query_and_client(timers: ManualTimers, output: Output) -> None:
    record: AccessRecord = ("-", "POST", "/", "1.0", 404, 0, 2000.0)
    [line] = written(AccessLog("text", "worker 1", timers), output, record)
    assert line.endswith(' [worker 1] - "POST / HTTP/1.0" 404 0 2000.000 ms')


def test_a_json_line(timers: ManualTimers, output: Output) -> None:
    [line] = written(AccessLog("json", "worker 3", timers), output, RECORD)
    entry = json.loads(line)
    assert re.fullmatch(UTC, entry.pop("time"))
    assert entry == {
        "level": "info",
        "worker": "worker 3",
        "client": "192.0.2.1:5000",
        "method": "GET",
        "path": "/a%20b",
        "query": "q=1",
        "http": "1.1",
        "status": 200,
        "bytes": 12,
        "duration": 0.0015,
    }


def test_a_json_line_survives_quotes_and_backslashes(timers: ManualTimers, output: Output) -> None:
    record: AccessRecord = ("-", "GET", '/"\\?"\\"', "1.1", 200, 0, 0.0)
    [line] = written(AccessLog("json", 'a "worker"', timers), output, record)
    entry = json.loads(line)
    assert (entry["worker"], entry["path"], entry["query"], entry["client"]) == ('a "worker"', '/"\\', '"\\"', "-")


# What it says of a WebSocket that has ended.


def test_the_end_of_a_websocket_as_text(timers: ManualTimers, output: Output) -> None:
    log = AccessLog("text", "worker 3", timers)
    log.websocket_closed("192.0.2.1:5000", "/a%20b", 1001, (3, 2, 50, 70), 12.3456)
    [line] = written(log, output)
    expected = ' [worker 3] 192.0.2.1:5000 "WS /a%20b" closed 1001, 3 messages (50 bytes) in, 2 (70) out, 12.346 s'
    assert re.fullmatch(TIME + re.escape(expected), line)


def test_the_end_of_a_websocket_as_json(timers: ManualTimers, output: Output) -> None:
    log = AccessLog("json", 'a "worker"', timers)
    log.websocket_closed("-", '/"\\', 1006, (3, 2, 50, 70), 12.3456)
    [line] = written(log, output)
    entry = json.loads(line)
    assert re.fullmatch(UTC, entry.pop("time"))
    assert entry == {
        "level": "info",
        "worker": 'a "worker"',
        "client": "-",
        "websocket": "closed",
        "path": '/"\\',
        "code": 1006,
        "messages_in": 3,
        "messages_out": 2,
        "bytes_in": 50,
        "bytes_out": 70,
        "duration": 12.3456,
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_end_of_a_websocket_comes_after_the_request_that_opened_it(
    timers: ManualTimers, output: Output, form: str
) -> None:
    log = AccessLog(form, "worker 1", timers)
    log.websocket_closed("-", "/", 1000, (0, 0, 0, 0), 0.5)
    assert len(timers.set) == 1, "it is flushed even if no request comes"
    note(log, RECORD)
    assert len(timers.set) == 1, "and with those that do"
    opened, closed = written(log, output)
    assert "closed" not in opened
    assert "closed" in closed


# Its batches.


def test_the_first_record_sets_one_timer_for_all_that_follow(timers: ManualTimers, output: Output) -> None:
    log = AccessLog("text", "worker 1", timers)
    for _ in range(5):
        note(log, RECORD)
    [(seconds, flush)] = timers.set
    assert seconds <= 0.5
    flush()
    assert len(written(log, output)) == 5


def test_a_new_batch_sets_a_new_timer(timers: ManualTimers, output: Output) -> None:
    log = AccessLog("text", "worker 1", timers)
    for _ in range(3):
        note(log, RECORD)
        assert len(timers.set) == 1
        timers.fire()
    assert timers.set == []
    assert len(written(log, output)) == 3


def test_flushing_nothing_does_nothing(timers: ManualTimers, output: Output) -> None:
    log = AccessLog("text", "worker 1", timers)
    log.flush()
    assert written(log, output) == []


# A reader of standard output who is slow, or gone.


class Pipe:
    """Takes the place of standard output while the context is open; nobody reads it before `read_all`."""

    def __enter__(self) -> Self:
        self.reader, writer = os.pipe()
        self._real = os.dup(1)
        os.dup2(writer, 1)
        os.close(writer)
        self._received = bytearray()
        self._thread = threading.Thread(target=self._read)
        return self

    def __exit__(self, *details: object) -> None:
        self._restore()
        if self._thread.is_alive():
            self._thread.join(10)
        with contextlib.suppress(OSError):
            os.close(self.reader)

    def read_all(self) -> None:
        """From now on somebody reads."""
        self._thread.start()

    def lines(self) -> int:
        """How many have been read."""
        return self._received.count(b"\n")

    def _restore(self) -> None:
        if self._real >= 0:
            os.dup2(self._real, 1)
            os.close(self._real)
            self._real = -1

    def _read(self) -> None:
        while data := os.read(self.reader, 65536):
            self._received += data


def test_lines_for_a_slow_reader_are_dropped_and_counted_and_no_other_is_lost(
    timers: ManualTimers, monkeypatch: pytest.MonkeyPatch, error_log: list[logging.LogRecord]
) -> None:
    monkeypatch.setattr(access_log, "_PENDING_LIMIT", 200_000)
    with Pipe() as pipe:
        log = AccessLog("text", "worker 1", timers)
        recorded = 20 * 1024  # much more than the pipe and the limit can hold
        for number in range(recorded):
            note(log, RECORD)
            if number % 1024 == 1023:
                log.flush()
        pipe.read_all()
        # What was dropped is told as soon as there is room again.
        deadline = time.monotonic() + 10
        while pipe.lines() + dropped(error_log) < recorded:
            assert time.monotonic() < deadline
            note(log, RECORD)
            log.flush()
            recorded += 1
            time.sleep(0.01)
        log.close(timeout=10)
    assert dropped(error_log) > 0
    assert pipe.lines() + dropped(error_log) == recorded


def dropped(error_log: list[logging.LogRecord]) -> int:
    """How many lines the log says it has dropped."""
    return sum(int(number) for record in error_log for number in re.findall(r"(\d+) lines", record.getMessage()))


def test_serving_goes_on_when_nobody_reads_standard_output_any_more(timers: ManualTimers) -> None:
    with Pipe() as pipe:
        os.close(pipe.reader)
        log = AccessLog("text", "worker 1", timers)
        for _ in range(3):
            note(log, RECORD)
            log.flush()
        log.close(timeout=10)


def test_closing_does_not_wait_for_a_reader_for_ever(timers: ManualTimers) -> None:
    with Pipe() as pipe:
        log = AccessLog("text", "worker 1", timers)
        for _ in range(4 * 1024):
            note(log, RECORD)
        log.close(timeout=0.01)
        pipe.read_all()
        log.close(timeout=10)
    assert pipe.lines() == 4 * 1024


def test_a_reader_of_a_named_pipe_who_is_slow_at_the_end_is_named_in_the_log(
    timers: ManualTimers, tmp_path: Path, error_log: list[logging.LogRecord]
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    log = AccessLog("text", "worker 1", timers, str(path))
    for _ in range(4 * 1024):
        note(log, RECORD)
    log.close(timeout=0.01)
    [told] = [record.getMessage() for record in error_log]
    assert re.fullmatch(
        rf"{re.escape(str(path))} takes the access log too slowly: its last \d+ lines may be lost", told
    )
    os.set_blocking(reader, True)

    def read() -> None:
        while os.read(reader, 65536):
            pass

    thread = threading.Thread(target=read)
    thread.start()
    log.close(timeout=10)
    thread.join(10)
    os.close(reader)


def test_a_record_that_cannot_be_shown_costs_its_batch_and_no_later_one(
    timers: ManualTimers, output: Output, error_log: list[logging.LogRecord]
) -> None:
    log = AccessLog("text", "worker 3", timers)
    for _ in range(2):
        note(log, (*RECORD[:4], "no number", 12, 1.5))  # type: ignore[arg-type]
        timers.fire()
    note(log, RECORD)
    timers.fire()
    note(log, (*RECORD[:4], "no number", 12, 1.5))  # type: ignore[arg-type]
    log.close(timeout=10)
    assert len(output.read().splitlines()) == 1
    (record,) = error_log
    assert record.getMessage().startswith("the access log failed")


# What JSON and forms of its own show beyond the record.

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Asked:
    """A request that has ended."""

    def __init__(self, *headers: tuple[bytes, bytes], fields: list[tuple[bytes, bytes]] | None = None) -> None:
        self.scope = {"headers": list(headers)}
        if fields is not None:
            self.fields = fields


def test_a_json_line_has_the_ids_of_its_own_request(timers: ManualTimers, output: Output) -> None:
    log = AccessLog("json", "worker 1", timers)
    log.records.append(RECORD)
    log.arm(Asked((b"traceparent", TRACE), (b"x-request-id", b"7")))
    log.records.append(RECORD)  # as a test may, without telling of whom
    log.records.append(RECORD)
    log.arm(Asked((b"host", b"a")))
    timers.fire()
    log.records.append(RECORD)
    log.arm(Asked((b"x-request-id", b"8")))
    log.close(timeout=10)
    keys = ("trace_id", "span_id", "request_id")
    assert [tuple(json.loads(line).get(key) for key in keys) for line in output.read().splitlines()] == [
        ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "7"),
        (None, None, None),
        (None, None, None),
        (None, None, "8"),
    ]


@pytest.mark.parametrize(("form", "own"), [("json", ""), ("text", "%(h)s"), ("json", "%(h)s")])
def test_where_details_are_wanted_each_request_is_told_of(timers: ManualTimers, form: str, own: str) -> None:
    log = AccessLog(form, "worker 1", timers, None, own)
    for _ in range(3):
        assert not log.armed
        log.records.append(RECORD)
        log.arm(Asked())
        assert len(timers.set) == 1
    log.close()


def test_a_form_of_its_own_takes_the_place_of_both(timers: ManualTimers, output: Output) -> None:
    log = AccessLog("json", "worker 1", timers, None, '%(h)s %(t)s "%(r)s" %(s)s "%(a)s" "%({x-a}o)s"')
    log.records.append(RECORD)
    log.arm(Asked((b"user-agent", b"curl"), fields=[(b"x-a", b"b")]))
    log.websocket_closed("192.0.2.1:5000", "/ws", 1000, (1, 2, 3, 4), 0.5)
    log.records.append(RECORD)
    log.arm(Asked())  # no response was on the wire
    log.close(timeout=10)
    one, two = output.read().splitlines()
    time = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"
    assert re.fullmatch(rf'192\.0\.2\.1 {time} "GET /a%20b\?q=1 HTTP/1\.1" 200 "curl" "b"', one)
    assert two.endswith('200 "-" "-"')


def test_lines_go_to_a_file_and_what_it_cannot_take_is_told(
    timers: ManualTimers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "logs" / "access.log"
    log = AccessLog("text", "worker 1", timers, str(path))
    note(log, RECORD)
    timers.fire()
    assert log.reopen().startswith(f"{path}: there is no directory")
    path.parent.mkdir()
    assert log.reopen() == ""
    note(log, RECORD)
    timers.fire()
    assert path.read_text().count("\n") == 1
    path.parent.rename(tmp_path / "gone")
    note(log, RECORD)
    log.close()
    texts = [record.getMessage() for record in caplog.records]
    assert texts[0].startswith(f"the access log {path} cannot be written, lines are dropped: there is no directory")
    assert texts[1] == f"{path} could not be written: 1 lines of the access log dropped"
    assert texts[2].startswith(f"the access log {path} cannot be opened anew")
    assert (tmp_path / "gone" / "access.log").read_text().count("\n") == 2


def test_what_was_dropped_last_is_told_at_the_end(
    timers: ManualTimers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = AccessLog("text", "worker 1", timers, str(tmp_path / "no" / "access.log"))
    note(log, RECORD)
    log.close()
    assert caplog.records[-1].getMessage().endswith("could not be written: 1 lines of the access log dropped")
