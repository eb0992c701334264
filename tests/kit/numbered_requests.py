"""Load of which each request has a number of its own, so that the access log can be held to account for every one."""

import itertools
import re
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tests.kit.raw_client import RawConnection
from tests.kit.server_process import until

_LINE = re.compile(r'"GET /\?n=(\d+) HTTP/1\.1" 200 \d+ \d+\.\d{3} ms')


class NumberedRequests:
    """Clients in threads, each of which asks `/?n=NUMBER` again and again while the context is entered."""

    def __init__(self, port: int, clients: int = 4) -> None:
        self._port = port
        self._numbers = itertools.count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]
        self.answered: list[int] = []  # the numbers of all requests that were answered with 200
        self.faults: list[BaseException] = []

    def __enter__(self) -> "NumberedRequests":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def go_on(self, count: int = 200) -> None:
        """Wait until so many more requests were answered."""
        goal = len(self.answered) + count
        until(lambda: len(self.answered) >= goal or self.faults, "requests to be answered")
        assert not self.faults

    def _ask(self) -> None:
        try:
            with RawConnection(self._port) as connection:
                while not self._stop.is_set():
                    number = next(self._numbers)
                    head, _ = connection.get(f"/?n={number}")
                    assert b" 200 " in head
                    self.answered.append(number)
        except BaseException as error:
            self.faults.append(error)


def logged(files: Iterable[Path]) -> Counter[int]:
    """How many lines there are for each number; fails for a line that is not whole."""
    found: Counter[int] = Counter()
    for file in files:
        for line in file.read_text().splitlines():
            match = re.fullmatch(r"[\d-]+ [\d:.]+ \[worker \d+\] 127\.0\.0\.1:\d+ " + _LINE.pattern, line)
            assert match is not None, line
            found[int(match[1])] += 1
    return found
