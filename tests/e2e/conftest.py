"""Fixtures that start servers and see to it that nothing of them stays."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from tests.kit.proxies import Proxies
from tests.kit.server_process import APP, ServerProcess


class Start(Protocol):
    """Starts the command in the test's directory; waits until it serves, unless told not to."""

    def __call__(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        ready: bool = True,
        directory: Path | None = None,
    ) -> ServerProcess: ...


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    servers: list[ServerProcess] = []

    def start(
        *arguments: str,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        ready: bool = True,
        directory: Path | None = None,
    ) -> ServerProcess:
        server = ServerProcess(arguments, tmp_path, env, pass_fds, directory_of_process=directory)
        servers.append(server)
        if ready:
            server.wait_until_ready()
        return server

    try:
        yield start
        for server in servers:
            if not server.running:
                server.check_nothing_is_left()
    finally:
        for server in servers:
            server.end()


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all tests of a module that only send requests."""
    server = ServerProcess((*APP, "--workers", "2"), tmp_path_factory.mktemp("two_workers"))
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.end()


@pytest.fixture
def proxies() -> Iterator[Proxies]:
    """Starts nginx and HAProxy; what was started is ended with the test."""
    started = Proxies()
    try:
        yield started
    finally:
        started.end()
