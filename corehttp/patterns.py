"""Regular expressions that are compiled when they are needed first, since many services never need most of them."""

import functools
import re
from collections.abc import Callable
from typing import AnyStr


def pattern(source: AnyStr) -> Callable[[], re.Pattern[AnyStr]]:
    """Return a function that returns the regular expression, which is compiled at its first call.

    Without it a worker's imports take 397 million instructions instead of 386 (CPython 3.13, `valgrind
    --tool=cachegrind python -c "import corehttp.worker.process"`). A later call takes no frame of Python.
    """
    return functools.cache(functools.partial(re.compile, source))
