"""The contract tests run over both parsers; files to send, closed in the end."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from corehttp.protocols.http1.parser_h11 import H11Parser
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from tests.kit.connections import Opened, SlowDisk, Source
from tests.kit.fakes import MakeParser


@pytest.fixture(params=[HttptoolsParser, H11Parser], ids=["httptools", "h11"])
def parser(request: pytest.FixtureRequest) -> MakeParser:
    chosen: MakeParser = request.param
    return chosen


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    """Makes files of a size, and closes them."""
    sources: list[Source] = []

    def make(size: int) -> Source:
        sources.append(Source(tmp_path / f"file-{len(sources)}", size))
        return sources[-1]

    yield make
    for source in sources:
        with contextlib.suppress(OSError):  # the test has closed it
            os.close(source.descriptor)


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    disk = SlowDisk(monkeypatch)
    yield disk
    disk.released.set()
