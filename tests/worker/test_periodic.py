"""Work that is done again and again fails for itself alone, and each of its faults is reported once."""

import logging

from corehttp.worker.periodic import MOST_REPORTS, Faults, Periodic


def test_it_is_called_with_what_it_is_given() -> None:
    seen: list[object] = []
    Periodic("a list", lambda *given: seen.append(given))(1, "a")
    assert seen == [(1, "a")]


def test_each_fault_is_reported_once_with_its_traceback(error_log: list[logging.LogRecord]) -> None:
    faults: list[Exception] = [LookupError("a"), ValueError("b")] * 3

    def fail() -> None:
        if isinstance(faults[-1], LookupError):
            raise faults.pop()
        raise faults.pop()

    work = Periodic("this work", fail)
    while faults:
        work()
    assert [record.exc_info[0] for record in error_log if record.exc_info] == [ValueError, LookupError]
    assert error_log[0].getMessage() == "this work failed; it goes on, and this fault is not reported again"


def test_faults_that_are_never_the_same_do_not_fill_the_log(error_log: list[logging.LogRecord]) -> None:
    faults = Faults("this work")
    for number in range(100):
        faults.report(type(f"Fault{number}", (Exception,), {})())
    assert len(error_log) == MOST_REPORTS
