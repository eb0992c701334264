"""What tests of sockets share."""

import contextlib
from collections.abc import Iterator

import pytest


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    """Closes what is put into it."""
    with contextlib.ExitStack() as stack:
        yield stack
