"""A process that has opened all the files that it may."""

import contextlib
import gc
import os
import resource
from collections.abc import Iterator


@contextlib.contextmanager
def no_free_descriptor() -> Iterator[None]:
    """Leaves this process only the descriptors that it uses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    gc.collect()  # or it may close descriptors of earlier tests meanwhile
    gc.disable()
    with contextlib.ExitStack() as fillers:
        fillers.callback(gc.enable)
        # Below the new limit every number is taken: what is opened next would be the first one that is free.
        highest = max(map(int, os.listdir("/proc/self/fd")))
        while (filler := os.dup(0)) < highest:
            fillers.callback(os.close, filler)
        os.close(filler)
        resource.setrlimit(resource.RLIMIT_NOFILE, (filler, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
