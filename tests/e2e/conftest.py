"""Fixtures that start servers and see to it that nothing of them stays."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from tests.kit.changing import ChangingApp
from tests.kit.proxies import Proxies
from tests.kit.redis_server import RedisServer
from tests.kit.server_process import APP, ServerProcess, servers_of_a_test


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
    with servers_of_a_test() as servers:

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

        yield start


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A directory for control sockets: a short one, since the path of a socket has at most 103 bytes."""
    with tempfile.TemporaryDirectory(prefix="corehttp-", dir="/tmp") as directory:
        yield Path(directory)


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
def app(tmp_path: Path) -> ChangingApp:
    """An application in the test's directory that can be changed; it answers "1"."""
    app = ChangingApp(tmp_path)
    app.become("1")
    return app


@pytest.fixture
def proxies() -> Iterator[Proxies]:
    """Starts nginx and HAProxy; what was started is ended with the test."""
    started = Proxies()
    try:
        yield started
    finally:
        started.end()


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of the test's own, which is ended with it."""
    server = RedisServer()
    try:
        yield server
    finally:
        server.end()
