"""Work for a CPU that takes a given time; a module of its own, so that helper processes import no more than this."""

import os
import time


def burn(milliseconds: float) -> int:
    """Compute for so long (CPU time of this thread) in Python code, which keeps the GIL; return the process id."""
    end = time.thread_time() + milliseconds / 1000
    while time.thread_time() < end:
        pass
    return os.getpid()
