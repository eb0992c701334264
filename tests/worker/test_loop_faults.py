"""Faults that an event loop has caught are told, whoever has configured logging in whatever way."""

import asyncio
import gc
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from corehttp.worker import loop_faults
from tests.conftest import Records


@contextmanager
def listened_to_by(*handlers: logging.Handler, disabled: bool = False) -> Iterator[None]:
    """The logger of asyncio has these handlers and no others meanwhile."""
    logger = logging.getLogger("asyncio")
    before = (logger.handlers, logger.propagate, logger.disabled)
    logger.handlers, logger.propagate, logger.disabled = list(handlers), False, disabled
    try:
        yield
    finally:
        logger.handlers, logger.propagate, logger.disabled = before


async def fail(name: str = "by design") -> None:
    raise LookupError(name)


async def leave_a_task_behind() -> None:
    asyncio.get_running_loop().set_exception_handler(loop_faults.report)
    task = asyncio.create_task(fail(), name="background")
    await asyncio.wait([task])
    del task
    gc.collect()


async def test_a_task_that_nobody_asks_is_told_where_nobody_configures_logging(
    error_log: list[logging.LogRecord],
) -> None:
    with listened_to_by():
        await leave_a_task_behind()
    [record] = error_log
    assert re.match("Task exception was never retrieved\nfuture: <Task finished name='background'", record.getMessage())
    assert record.exc_info is not None
    assert repr(record.exc_info[1]) == "LookupError('by design')"


async def test_it_is_told_where_an_application_has_disabled_the_logger_of_asyncio(
    error_log: list[logging.LogRecord],
) -> None:
    with listened_to_by(Records(), disabled=True):
        await leave_a_task_behind()
    assert len(error_log) == 1


async def test_an_application_that_listens_to_asyncio_hears_it_and_it_is_not_told_twice(
    error_log: list[logging.LogRecord],
) -> None:
    theirs = Records()
    with listened_to_by(theirs):
        await leave_a_task_behind()
    assert len(theirs.records) == 1
    assert error_log == []


async def test_a_task_that_wants_to_exit_is_told_elsewhere(error_log: list[logging.LogRecord]) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(loop_faults.report)
    with listened_to_by():
        for error in (SystemExit(0), KeyboardInterrupt()):
            loop.call_exception_handler(
                {"message": "never retrieved", "exception": error, "future": loop.create_future()}
            )
            assert error_log == []
        loop.call_exception_handler({"message": "on a transport", "exception": SystemExit(0)})
    assert len(error_log) == 1


class Secret:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("not for you")


async def test_what_cannot_be_shown_does_not_hide_the_fault(error_log: list[logging.LogRecord]) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(loop_faults.report)
    with listened_to_by():
        loop.call_exception_handler({"exception": ValueError("no"), "handle": Secret()})
    [record] = error_log
    assert "unhandled exception in the event loop\nhandle: <" in record.getMessage()
