"""Fixtures that more than one part of the tests uses."""

import contextlib
import gc
import importlib
import logging
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.kit.draining import Time
from tests.kit.extent import FULL

TESTS = Path(__file__).resolve().parent

# A job in the background, or one under nohup(1), is started with these signals ignored, and so would be whatever the
# tests start (signal(7), execve(2)).
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGHUP, signal.SIGQUIT):
    signal.signal(number, signal.SIG_DFL)

# How many examples Hypothesis tries of each property; that they take long, as on a busy machine, is no fault.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("part", patient, max_examples=30)
settings.register_profile("full", patient, max_examples=200)
settings.load_profile("full" if FULL else "part")


class Records(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(scope="session", autouse=True)
def _no_certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let httpx read no certificates: no test speaks TLS, and each client would take 30 ms to read all of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SSL_CERT_FILE", raising=False)
        patch.setenv("SSL_CERT_DIR", str(tmp_path_factory.mktemp("certificates")))
        yield


@pytest.fixture
def error_log() -> Iterator[list[logging.LogRecord]]:
    """The records of the logger `corehttp.error`, as they come."""
    logger = logging.getLogger("corehttp.error")
    handler = Records()
    logger.addHandler(handler)
    yield handler.records
    logger.removeHandler(handler)


@pytest.fixture
def time() -> Time:
    """The time of a drain, which passes while the drain sleeps."""
    return Time()


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Keep what the collection of the tests makes out of the garbage collector's sight.

    None of it is garbage, and there is much more of it than of anything that a test makes. Without this a collection of
    all tests takes 3.5 s of CPU time instead of 2.1 s, in each process of pytest-xdist, and the tests without real
    processes, of which many collect garbage, take 111 s instead of 93 s.
    """
    gc.disable()
    try:
        if [Path(argument).resolve() for argument in session.config.args] == [TESTS]:
            _compile_a_share()
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _compile_a_share() -> None:
    """Import, in a process of pytest-xdist, the modules of tests that no other of its processes imports first.

    All of them import all tests, in the same order and at the same time, so in a fresh clone each would compile every
    module. Four of them take 14 s of CPU time to collect the tests if each compiles a quarter, instead of 21 s.
    """
    number, count = os.environ.get("PYTEST_XDIST_WORKER"), os.environ.get("PYTEST_XDIST_WORKER_COUNT")
    if number is None or count is None:
        return
    for path in sorted(TESTS.rglob("test_*.py"))[int(number.removeprefix("gw")) :: int(count)]:
        with contextlib.suppress(Exception, pytest.skip.Exception):  # what is wrong is told when it is collected
            importlib.import_module(".".join((TESTS.name, *path.relative_to(TESTS).with_suffix("").parts)))


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups, in its own hook of this name
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests with real processes first, and say which tests have to run in one process (`--dist loadgroup`).

    The tests with real processes mostly wait, so they are spread one by one, but for those of a module that share a
    server. The others stay together, file by file.
    """
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)  # stable
    for item in items:
        if item.get_closest_marker("e2e") is None or _shares(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to run tests apart that have to run in one process: each process would start every shared server anew.

    Versions of pytest and pytest-xdist that do not fit together ignore the groups without a word.
    """
    if session.config.getoption("loadgroup", default=False):
        for item in session.items:
            if item.get_closest_marker("xdist_group") is not None and "@" not in item.nodeid:
                raise pytest.UsageError(f"pytest-xdist does not group {item.nodeid}: install what pyproject.toml names")


def _shares(item: pytest.Item) -> bool:
    """Whether the test uses a fixture that other tests of its module use as well."""
    definitions = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
    return any(found[-1].scope == "module" and found[-1].baseid for found in definitions.values())
