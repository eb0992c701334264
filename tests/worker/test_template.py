"""What the template finds wrong with a fork, and how it looks for it."""

import asyncio
import os
import threading
from typing import Any

import pytest

from corehttp.errors import StartupError
from corehttp.worker.template import check
from tests.test_app import Lazy


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_no_object_is_evaluated() -> None:
    lazy: Any = Lazy()
    check(strict=False, before=descriptors())
    assert type(lazy) is Lazy


def test_threads_and_event_loops_are_named() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait, name="flusher")
    loop = asyncio.new_event_loop()
    thread.start()
    try:
        with pytest.raises(StartupError, match=r"the thread 'flusher'.*the event loop"):
            check(strict=True, before=descriptors())
    finally:
        done.set()
        thread.join()
        loop.close()
