"""Fixtures of the tests of the control socket."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short path: that of a socket has at most 103 bytes."""
    with tempfile.TemporaryDirectory(prefix="corehttp-", dir="/tmp") as made:
        yield Path(made)
