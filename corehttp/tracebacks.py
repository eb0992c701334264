"""Tracebacks of the application's errors, which begin where its own code does."""

import importlib
import traceback
from types import TracebackType

_PACKAGE = __file__.rpartition("/")[0] + "/"
_IMPORTLIB = importlib.__file__.rpartition("/")[0] + "/"


def application_traceback(error: BaseException) -> str:
    """The traceback of `error` as text, without the frames of this package and of the import system that lead to it.

    Only leading frames are left out, so that whatever the application's code calls is shown, whatever its name is.
    """
    trace = error.__traceback__
    while trace is not None and _is_ours(trace):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace))


def _is_ours(trace: TracebackType) -> bool:
    name = trace.tb_frame.f_code.co_filename
    return name.startswith((_PACKAGE, _IMPORTLIB, "<frozen importlib."))
