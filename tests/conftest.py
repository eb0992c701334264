"""Fixtures that more than one part of the tests uses."""

import logging
from collections.abc import Iterator

import pytest


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
