"""Fixtures that more than one part of the tests uses."""

import logging
import signal
from collections.abc import Iterator

import pytest

from tests.kit.draining import Time

# A job in the background, or one under nohup(1), is started with these signals ignored, and so would be whatever the
# tests start (signal(7), execve(2)).
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, signal.SIG_DFL)


class Records(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def error_log() -> Iterator[list[logging.LogRecord]]:
    """The records of the logger `corehttp.error`, as they come."""
    logger = logging.getLogger("corehttp.error")
    handler = Records()
    logger.addHandler(handler)
    yield handler.records
    logger.removeHandler(handler)


@pytest.fixture
def time() -> Time:
    """The time of a drain, which passes while the drain sleeps."""
    return Time()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests with real processes first, and say which tests have to run in one process (`--dist loadgroup`).

    The tests with real processes mostly wait, so they are spread one by one, but for those of a module that share a
    server. The others stay together, file by file.
    """
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)  # stable
    for item in items:
        if item.get_closest_marker("e2e") is None or _shares(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def _shares(item: pytest.Item) -> bool:
    """Whether the test uses a fixture that other tests of its module use as well."""
    definitions = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
    return any(found[-1].scope == "module" and found[-1].baseid for found in definitions.values())
