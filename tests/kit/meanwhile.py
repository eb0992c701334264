"""Something that goes on in a thread while a test does something else."""

import contextlib
import threading
from collections.abc import Callable, Iterator

from tests.kit.server_process import PATIENCE


@contextlib.contextmanager
def again_and_again(step: Callable[[], object]) -> Iterator[None]:
    """Call `step` without a pause in a thread, until the context ends, which fails with the first thing that it raises.

    After that it is not called any more.
    """
    ended = threading.Event()
    faults: list[BaseException] = []

    def work() -> None:
        try:
            while not ended.is_set():
                step()
        except BaseException as error:
            faults.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(PATIENCE)
    assert not faults, faults
