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


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the files that tests only read: to write one of 20 MB takes longer than to send it."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture
def opened(files: Path) -> Iterator[Opened]:
    """Opens files of a size, and closes them; a file is the same for all tests, which must not change it."""
    sources: list[Source] = []

    def make(size: int) -> Source:
        sources.append(Source(files / str(size), size))
        return sources[-1]

    yield make
    _close(sources)


@pytest.fixture
def own_file(tmp_path: Path) -> Iterator[Opened]:
    """Makes files of a size that the test may change, and closes them."""
    sources: list[Source] = []

    def make(size: int) -> Source:
        sources.append(Source(tmp_path / f"file-{len(sources)}", size))
        return sources[-1]

    yield make
    _close(sources)


def _close(sources: list[Source]) -> None:
    for source in sources:
        with contextlib.suppress(OSError):  # the test has closed it
            os.close(source.descriptor)


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    disk = SlowDisk(monkeypatch)
    yield disk
    disk.released.set()
