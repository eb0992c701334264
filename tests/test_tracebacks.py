"""Errors as text, whatever their causes and groups look like."""

import itertools
import logging
import traceback
from collections.abc import Callable

import pytest

from corehttp.logs import JsonFormatter, TextFormatter
from corehttp.tracebacks import LONGEST, MOST, formatted


def raised(error: BaseException) -> BaseException:
    """The same with a traceback."""
    try:
        raise error
    except BaseException as caught:
        return caught


def chain(size: int, *, by: str = "__cause__") -> BaseException:
    errors = [ValueError(str(number)) for number in range(size)]
    for error, cause in itertools.pairwise(errors):
        BaseException.__dict__[by].__set__(error, cause)
    return errors[0]


def raised_in_a_row(size: int) -> BaseException:
    """Each is both the cause and the context of the next one."""
    error: BaseException = ValueError()
    for number in range(1, size):
        try:
            try:
                raise error
            except ValueError as before:
                raise ValueError(number) from before
        except ValueError as after:
            error = after
    return error


def circle(size: int) -> BaseException:
    errors = [ValueError(str(number)) for number in range(size)]
    for number, error in enumerate(errors):
        error.__cause__ = errors[number - 1]
        error.__context__ = errors[number // 2]
    return errors[0]


def groups(depth: int, width: int) -> ExceptionGroup[Exception]:
    """Groups in groups, each of which holds the same one so many times."""
    group: ExceptionGroup[Exception] = ExceptionGroup("innermost", [ValueError("inside")])
    for number in range(depth):
        group = ExceptionGroup(str(number), [group] * width)
    return group


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("has no text")


# How to make the errors: some of them are so large that only the test in question makes them.
FEW: list[Callable[[], BaseException]] = [
    lambda: raised_in_a_row(MOST),
    lambda: chain(1),
    lambda: chain(MOST),
    lambda: chain(MOST, by="__context__"),
    lambda: circle(1),
    lambda: circle(3),
    lambda: groups(20, 1),
    lambda: groups(4, 2),
    lambda: MuteError(),
]
MANY: list[Callable[[], BaseException]] = [
    lambda: raised_in_a_row(MOST + 1),
    lambda: chain(MOST + 1),
    lambda: chain(100_000),
    lambda: groups(3, 10),
    lambda: groups(60, 2),
    lambda: groups(5000, 1),
    lambda: groups(1, 100_000),
]


@pytest.mark.parametrize("make", FEW, ids=range(len(FEW)))
def test_few_exceptions_are_shown_as_the_interpreter_does_it(make: Callable[[], BaseException]) -> None:
    error = raised(make())
    expected = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    assert formatted(error, error.__traceback__) == expected


@pytest.mark.parametrize("make", MANY, ids=range(len(MANY)))
def test_of_many_only_the_first_is_shown(make: Callable[[], BaseException]) -> None:
    error = raised(make())
    text = formatted(error, error.__traceback__)
    assert text.startswith("Traceback (most recent call last):\n")
    assert ", in raised\n" in text
    kind = type(error)
    assert text.endswith(
        f"builtins.{kind.__name__}: {error}\n"
        "It is one of more than 100 exceptions that led to one another; the others are not shown.\n"
    )
    assert len(text) < 2000


def test_one_without_a_text_is_shown_alone_too() -> None:
    error = MuteError()
    error.__cause__ = chain(MOST)
    assert ".MuteError: <tests.test_tracebacks.MuteError object at " in formatted(error, None)


@pytest.mark.parametrize("size", [LONGEST, 10 * LONGEST])
def test_of_a_text_that_is_too_long_both_ends_are_shown(size: int) -> None:
    error = raised(ValueError("begin" + "x" * size + "end"))
    text = formatted(error, error.__traceback__)
    assert len(text) < LONGEST + 100
    assert "ValueError: begin" in text
    assert text.endswith("xend\n")
    whole = "".join(traceback.format_exception(error))
    assert f"[... {len(whole) - LONGEST} characters are not shown ...]" in text


def test_both_forms_of_the_log_are_bounded() -> None:
    error = groups(60, 2)
    record = logging.LogRecord("corehttp.error", logging.ERROR, "f.py", 1, "failed", (), (type(error), error, None))
    for formatter in (TextFormatter("worker 1", colour=False), JsonFormatter("worker 1")):
        assert "the others are not shown." in formatter.format(record)
