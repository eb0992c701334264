"""What is remembered of clients' and applications' values takes little memory, whatever they are."""

import tracemalloc
from collections.abc import Callable

import pytest

from corehttp.protocols.http1.semantics import judge
from corehttp.protocols.http1.wire import response_head

MOST = 2 * 2**20  # bytes that one kind of values may keep


def host(number: int) -> None:
    name = b"%08d" % number + b"h" * 60_000
    judge("GET", "/", "1.1", [(b"host", name)], {b"host": name})


def location(number: int) -> None:
    response_head(307, [(b"location", b"/%08d" % number + b"l" * 60_000)])


def short_host(number: int) -> None:
    name = b"%08d" % number + b"h" * 247
    judge("GET", "/", "1.1", [(b"host", name)], {b"host": name})


def short_field(number: int) -> None:
    response_head(200, [(b"x-%08d" % number, b"v" * 490)])


@pytest.mark.parametrize("ask", [host, location, short_host, short_field])
def test_values_that_never_repeat_are_remembered_within_a_bound(ask: Callable[[int], None]) -> None:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(2000):
            ask(number)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < MOST
