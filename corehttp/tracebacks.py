"""Tracebacks as text of bounded size; those of the application begin where its own code does."""

import importlib
import traceback
from types import TracebackType

MOST = 100  # the most exceptions that are shown together: those that led to one another, and those in groups
LONGEST = 65536  # about the most characters of a traceback: an error's message may hold all that a client has sent

_PACKAGE = __file__.rpartition("/")[0] + "/"
_IMPORTLIB = importlib.__file__.rpartition("/")[0] + "/"


def application_traceback(error: BaseException) -> str:
    """Return the traceback of `error` without the frames of this package and of the import system that lead to it.

    Only leading frames are left out, so that everything the application's code calls is shown.
    """
    trace = error.__traceback__
    while trace is not None and _is_ours(trace):
        trace = trace.tb_next
    return formatted(error, trace)


def formatted(error: BaseException, trace: TracebackType | None) -> str:
    """Return the traceback of `error` with those of its causes, or alone if there are more than MOST exceptions.

    The time that the module `traceback` takes has no bound: thirty groups, each of which holds the next one twice, are
    2**30 exceptions to it, and an application's groups may be made of what clients send.
    """
    if _are_few(error):
        return _cut("".join(traceback.format_exception(type(error), error, trace)))
    kind = type(error)
    lines = ["Traceback (most recent call last):\n", *traceback.format_tb(trace)]
    lines.append(f"{kind.__module__}.{kind.__qualname__}: {_text(error)}\n")
    lines.append(f"It is one of more than {MOST} exceptions that led to one another; the others are not shown.\n")
    return _cut("".join(lines))


def _cut(text: str) -> str:
    """Return the text, without its middle if it is too long: the frames begin it, and the last error ends it."""
    left_out = len(text) - LONGEST
    if left_out <= 0:
        return text
    half = LONGEST // 2
    return f"{text[:half]}\n[... {left_out} characters are not shown ...]\n{text[-half:]}"


def _are_few(error: BaseException) -> bool:
    """Whether `traceback` would show at most MOST exceptions.

    It shows a cause once only, however many exceptions have it, but a member of several groups again in each.
    """
    waiting = [error]
    seen = {id(error)}
    for _ in range(MOST):
        if not waiting:
            return True
        one = waiting.pop()
        for link in (one.__cause__, one.__context__):
            if link is not None and id(link) not in seen:
                seen.add(id(link))
                waiting.append(link)
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions[: MOST + 1]
    return not waiting


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return object.__repr__(error)


def _is_ours(trace: TracebackType) -> bool:
    name = trace.tb_frame.f_code.co_filename
    return name.startswith((_PACKAGE, _IMPORTLIB, "<frozen importlib."))
