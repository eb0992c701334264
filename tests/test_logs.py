"""The server's log lines: both forms, and that no logger but ours is touched."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from corehttp.logs import JsonFormatter, OwnLogger, TextFormatter, reopen, set_up
from tests.kit.extent import crossed

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
UTC = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def own_logger() -> Iterator[logging.Logger]:
    """The logger of the package as nobody has set it up; put back as it was."""
    logger = logging.getLogger("corehttp")
    before = (list(logger.handlers), logger.level, logger.propagate)
    handler = OwnLogger.__dict__.get("handler")
    logger.__class__ = logging.Logger
    logger.handlers[:], logger.propagate = [], True
    logger.setLevel(logging.NOTSET)
    yield logger
    if handler is None:
        del OwnLogger.handler
    else:
        OwnLogger.handler = handler
    for name in ("corehttp", "corehttp.error", "corehttp.supervisor"):
        logging.getLogger(name).__class__ = logging.Logger
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


def test_a_json_line_about_a_request_has_its_ids() -> None:
    record = record_of("no")
    record.request_ids = {"trace_id": "a", "request_id": "7"}
    entry = json.loads(JsonFormatter("worker 1").format(record))
    assert (entry["message"], entry["trace_id"], entry["request_id"]) == ("no", "a", "7")


def test_set_up_writes_to_a_file_and_opens_it_anew(
    own_logger: logging.Logger, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "error.log"
    set_up("info", "text", "supervisor", str(path))
    logging.getLogger("corehttp.error").info("one")
    path.rename(tmp_path / "error.log.1")
    assert reopen() == ""
    logging.getLogger("corehttp.error").info("two")
    path.unlink()
    tmp_path.rename(tmp_path.with_name("gone"))
    logging.getLogger("corehttp.error").info("three")
    assert reopen().startswith(f"{path}: there is no directory")
    set_up("info", "text", "supervisor")
    assert reopen() == ""
    gone = tmp_path.with_name("gone")
    assert (gone / "error.log.1").read_text().endswith(" INFO     [supervisor] one\n")
    captured = capfd.readouterr()
    assert captured.out == ""
    told = rf"the log file {path} cannot be opened anew: there is no directory"
    assert re.fullmatch(rf"{TIME} ERROR    \[supervisor\] {told} .*\n", captured.err)


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


@pytest.mark.parametrize(
    ("colours", "level"), [(None, "INFO    "), (False, "INFO    "), (True, "\x1b[32mINFO    \x1b[0m")]
)
def test_colours_are_where_they_are_wanted(
    own_logger: logging.Logger, capfd: pytest.CaptureFixture[str], colours: bool | None, level: str
) -> None:
    set_up("info", "text", "worker 1", colours=colours)
    logging.getLogger("corehttp.error").info("shown")
    assert f" {level} [worker 1] shown\n" in capfd.readouterr().err


def test_a_file_has_no_colours(own_logger: logging.Logger, tmp_path: Path) -> None:
    set_up("info", "text", "worker 1", str(tmp_path / "log"), colours=True)
    logging.getLogger("corehttp.error").info("shown")
    assert " INFO     [worker 1] shown\n" in (tmp_path / "log").read_text()


def test_a_format_of_the_application_may_name_the_worker(
    own_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up("info", "text", "worker 3")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(worker)s says %(message)s"))
    own_logger.handlers = [handler]
    logging.getLogger("corehttp.error").info("hello")
    assert capsys.readouterr().err == "worker 3 says hello\n"


# What an application does to logging.

FILE_CONFIG = """[loggers]
keys=root
[handlers]
keys=
[formatters]
keys=
[logger_root]
level=ERROR
handlers=
"""
UNNAMED = {
    "dictConfig": "logging.config.dictConfig({'version': 1})",
    "dictConfig with a root of its own": "logging.config.dictConfig({'version': 1, 'root': {'level': 'CRITICAL'}})",
    "dictConfig for another logger": "logging.config.dictConfig({'version': 1, 'loggers': {'uvicorn': {'level': 50}}})",
    "dictConfig twice": "logging.config.dictConfig({'version': 1}); logging.config.dictConfig({'version': 1})",
    "fileConfig, as migrations do": f"import io; logging.config.fileConfig(io.StringIO({FILE_CONFIG!r}))",
    "basicConfig": "logging.basicConfig(level='CRITICAL', handlers=[logging.NullHandler()], force=True)",
    "disable": "logging.disable(logging.CRITICAL)",
    "a level of the root": "logging.getLogger().setLevel(logging.CRITICAL)",
    "every logger disabled": "for name in logging.root.manager.loggerDict: logging.getLogger(name).disabled = True",
    "every handler removed": "for name in logging.root.manager.loggerDict: logging.getLogger(name).handlers = []",
    "every logger cut off": (
        "for name in logging.root.manager.loggerDict:\n"
        "    logging.getLogger(name).handlers.clear(); logging.getLogger(name).propagate = False"
    ),
    "every logger left to a root without handlers": (
        "for name in logging.root.manager.loggerDict:\n"
        "    logging.getLogger(name).handlers.clear(); logging.getLogger(name).propagate = True"
    ),
    "shutdown": "logging.shutdown()",
    "a class of loggers": "logging.setLoggerClass(type('Mine', (logging.Logger,), {'handle': lambda *a: None}))",
    "a record factory that raises": "logging.setLogRecordFactory(lambda *a, **k: 1 / 0)",
    "a record factory that makes none": "logging.setLogRecordFactory(lambda *a, **k: None)",
    "the standard error of Python replaced": "import io; sys.stderr = io.StringIO()",
}
NAMED = {
    "a level": "logging.getLogger('corehttp').setLevel(logging.CRITICAL)",
    "dictConfig": "logging.config.dictConfig({'version': 1, 'loggers': {'corehttp': {'level': 'CRITICAL'}}})",
    "a handler": (
        "logging.config.dictConfig({'version': 1, 'handlers': {'null': {'class': 'logging.NullHandler'}}, "
        "'loggers': {'corehttp': {'handlers': ['null']}}})"
    ),
}


SET_UP = "set_up('info', 'text', '{who}')\n"
# In a worker that loads the application, in one that is forked from where that was done, and in a program of its own.
PLACES = {"worker": ("template", ""), "preload": ("template", "worker 1"), "program": ("", "worker 1")}


def said_after(configuration: str, place: str = "worker") -> str:
    """What the server's logger writes to the real standard error when an application has run this."""
    before, after = PLACES[place]
    script = (
        "import logging, logging.config, sys\n"
        "from corehttp.logs import set_up\n"
        f"{SET_UP.format(who='worker 1' if not after else before) if before else ''}"
        f"{configuration}\n"
        f"{SET_UP.format(who=after) if after else ''}"
        "try: raise ValueError('find me')\n"
        "except ValueError: logging.getLogger('corehttp.error').exception('in %s', 'GET /')\n"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert process.returncode == 0, process.stderr
    return process.stderr


@crossed(("place", "name"), ["worker", "preload"], UNNAMED)
def test_an_application_that_configures_logging_does_not_silence_the_server(name: str, place: str) -> None:
    said = said_after(UNNAMED[name], place)
    assert re.match(TIME + r" ERROR    \[worker 1\] in GET /\nTraceback", said), said
    assert said.count("ValueError: find me") == 1


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", NAMED)
def test_an_application_that_names_the_servers_loggers_has_its_way(name: str, place: str) -> None:
    assert said_after(NAMED[name], place) == ""


@pytest.mark.parametrize("place", PLACES)
def test_who_says_a_line_is_who_was_set_up_last(place: str) -> None:
    assert "ERROR    [worker 1] in GET /" in said_after(UNNAMED["dictConfig"], place)


@pytest.mark.parametrize("place", ["worker", "preload"])
def test_an_application_that_collects_all_lines_gets_the_servers_too(place: str) -> None:
    """As the recipes for loguru and structlog do: every logger is left to one handler of the root."""
    collect = (
        "for name in logging.root.manager.loggerDict:\n"
        "    logging.getLogger(name).handlers = []; logging.getLogger(name).propagate = True\n"
        "logging.basicConfig(format='mine: %(message)s', force=True)"
    )
    assert said_after(collect, place).startswith("mine: in GET /\n")


@pytest.mark.parametrize(
    "broken",
    [
        (
            "class Broken(logging.Handler):\n"
            "    def emit(self, record): raise LookupError('broken')\n"
            "logging.getLogger('corehttp').handlers = [Broken()]"
        ),
        "logging.getLogger('corehttp.error').addFilter(lambda record: record.nothing)",
    ],
)
def test_what_the_application_adds_and_raises_does_not_reach_the_server(broken: str) -> None:
    assert "ERROR    [worker 1] in GET /" in said_after(broken)
