"""The server's log lines: both forms, and that no logger but ours is touched."""

import json
import logging
import re
from collections.abc import Iterator

import pytest

from corehttp.logs import JsonFormatter, TextFormatter, set_up

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
UTC = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def own_logger() -> Iterator[logging.Logger]:
    """The logger of the package, put back as it was."""
    logger = logging.getLogger("corehttp")
    before = (list(logger.handlers), logger.level, logger.propagate)
    yield logger
    logger.handlers[:], logger.level, logger.propagate = before
    logger.setLevel(logger.level)


def record_of(message: str, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error is not None else None
    return logging.LogRecord("corehttp.error", logging.WARNING, "file.py", 1, message, arguments, info)


def test_a_text_line_of_the_server() -> None:
    line = TextFormatter("supervisor", colour=False).format(record_of("worker %d is gone", 3))
    assert re.fullmatch(TIME + r" WARNING  \[supervisor\] worker 3 is gone", line)


def test_a_terminal_gets_coloured_levels() -> None:
    assert "\x1b[33mWARNING \x1b[0m" in TextFormatter("supervisor", colour=True).format(record_of("hello"))


def test_an_exception_follows_its_line() -> None:
    error = ValueError("by design")
    assert (
        TextFormatter("worker 1", colour=False)
        .format(record_of("no", error=error))
        .endswith("no\nValueError: by design")
    )
    entry = json.loads(JsonFormatter("worker 1").format(record_of("no", error=error)))
    assert (entry["message"], entry["traceback"]) == ("no", "ValueError: by design")


def test_a_json_line_of_the_server() -> None:
    entry = json.loads(JsonFormatter("worker 2").format(record_of("line\nbreak %s", '"')))
    assert re.fullmatch(UTC, entry.pop("time"))
    assert entry == {"level": "warning", "worker": "worker 2", "message": 'line\nbreak "'}


def test_set_up_writes_to_standard_error_and_leaves_the_root_logger_alone(
    own_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    set_up("warning", "text", "worker 1")
    set_up("warning", "text", "worker 7")  # again: not twice the lines
    logging.getLogger("corehttp.error").warning("shown")
    logging.getLogger("corehttp.error").info("hidden")
    assert (list(root.handlers), root.level) == before
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(TIME + r" WARNING  \[worker 7\] shown\n", captured.err)
