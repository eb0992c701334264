"""The operator's mistakes: each ends with the right exit code and a message that says what would be right."""

import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.e2e.conftest import Start
from tests.kit.server_process import APP, HERE, ServerProcess

pytestmark = pytest.mark.e2e

USAGE, STARTUP = 2, 3
PORT = ("--port", "0")


class Mistake(NamedTuple):
    """A command that cannot serve, and what its last words must contain."""

    code: int
    arguments: tuple[str, ...]
    words: tuple[str, ...]
    files: Mapping[str, str] = {}
    env: Mapping[str, str] = {}


def module(text: str, *words: str, arguments: tuple[str, ...] = ("main", *PORT)) -> Mistake:
    """The module main.py is at fault."""
    return Mistake(STARTUP, arguments, words, {"main.py": text})


def flag(*arguments: str, words: tuple[str, ...]) -> Mistake:
    return Mistake(USAGE, ("main:app", *arguments), words)


MISSING_IMPORT = "import surely_missing\n"
FACTORY = "def make():\n    async def app(scope, receive, send): ...\n    return app\n"
MISTAKES = {
    "unknown module": Mistake(STARTUP, ("nowhere", *PORT), ("there is no module 'nowhere' in ", "--app-dir")),
    "no name": Mistake(STARTUP, ("path/to.py", *PORT), ("'path/to.py' must be written as MODULE:ATTRIBUTE",)),
    "missing import": module(MISSING_IMPORT, "'main' cannot be imported: No module named 'surely_missing'"),
    "syntax error": module("def app(:\n", "'main' cannot be imported", "SyntaxError", "main.py"),
    "exit": module("raise SystemExit(9)\n", "'main' cannot be imported: SystemExit(9)"),
    "no attribute": module(FACTORY, "'main' has no attribute 'app'; it has make"),
    "not callable": module("app = {}\n", "main is not an ASGI application: dict objects cannot be called"),
    "WSGI": module(
        "def app(environ, start_response): return []\n",
        "it looks like a WSGI application",
        arguments=("main", "--interface", "asgi3", *PORT),
    ),
    "factory": module(FACTORY, "it looks like a factory: use --factory", arguments=("main:make", *PORT)),
    "failing factory": module(
        "def make():\n    raise ValueError('no database')\n",
        "the factory main:make failed: ValueError('no database')",
        arguments=("main:make", "--factory", "--no-supervise", *PORT),
    ),
    "no descriptor": Mistake(STARTUP, ("main", "--fd", "0"), ("fd 0 is not a socket that this process has inherited",)),
    "not our host": Mistake(
        STARTUP,
        ("main", "--host", "192.0.2.1"),
        ("192.0.2.1 is not an address of this machine; choose another --host",),
    ),
    "no application": Mistake(USAGE, (), ("no application", "MODULE:ATTRIBUTE")),
    "workers": flag("--workers", "0", words=("--workers: '0'", "a number from 1, auto")),
    "number": flag("--port", "http", words=("--port: 'http'", "a whole number from 0 to 65535")),
    "choice": flag("--loop", "gevent", words=("--loop: 'gevent'", "one of auto, uvloop, asyncio")),
    "seconds": flag(
        "--timeout-keep-alive", "-1", words=("--timeout-keep-alive: '-1'", "a number of seconds, 0 or more")
    ),
    "header": flag("--header", "nothing", words=("--header", "NAME:VALUE")),
    "text": flag("--uds", "", words=("--uds: ''", "some text")),
    "two places": flag("--uds", "socket", "--fd", "3", words=("uds and fd exclude each other",)),
    "no supervisor": flag("--no-supervise", "--workers", "2", words=("workers 2 need a supervisor",)),
    "a file's name": Mistake(STARTUP, ("main.py", *PORT), ("'main.py' must be written as ", "did you mean main:app?")),
    "a flag of gunicorn's": flag("-w", "4", words=("There is no option -w: use --workers",)),
    "unknown flag": flag("--no-such-flag", words=("No such option", "--no-such-flag")),
    "environment": Mistake(
        USAGE, ("main:app",), ("WEB_CONCURRENCY: 'many' is not valid",), env={"WEB_CONCURRENCY": "many"}
    ),
    "unknown key": Mistake(
        USAGE,
        ("main:app",),
        ("pyproject.toml [tool.corehttp]: 'worker' is not an option; did you mean 'workers'?",),
        {"pyproject.toml": "[tool.corehttp]\nworker = 2\n"},
    ),
    "value in a file": Mistake(
        USAGE,
        ("main:app",),
        ("corehttp.toml: supervise: 'perhaps'", "true or false"),
        {"corehttp.toml": 'supervise = "perhaps"\n'},
    ),
    "not TOML": Mistake(
        USAGE, ("main:app",), ("corehttp.toml cannot be read as TOML",), {"corehttp.toml": "port = \n"}
    ),
}


# One of each kind, which `make check` makes; `make test` makes all.
TYPICAL = {
    *("unknown module", "missing import", "not callable", "factory", "no descriptor", "no application", "number"),
    *("no supervisor", "unknown flag", "environment", "unknown key", "value in a file", "not TOML"),
}
FEATURE = pytest.mark.feature


class Outcome(NamedTuple):
    code: int
    stderr: str


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """How all mistakes of the run end; made side by side, which takes half the time."""

    def make(name: str) -> Outcome:
        mistake = MISTAKES[name]
        directory = directories[name]
        for file, text in mistake.files.items():
            (directory / file).write_text(text)
        server = ServerProcess(mistake.arguments, directory, mistake.env)
        try:
            code = server.wait()
            server.check_nothing_is_left()
            return Outcome(code, server.stderr)
        finally:
            server.end()

    ours = (item for item in request.session.items if isinstance(item, pytest.Function) and item.path == request.path)
    names = [str(item.callspec.params["name"]) for item in ours if "outcomes" in item.fixturenames]
    directories = {name: tmp_path_factory.mktemp("mistake") for name in names}
    with ThreadPoolExecutor(4) as threads:
        return dict(zip(names, threads.map(make, names), strict=True))


@pytest.mark.parametrize("name", [pytest.param(name, marks=FEATURE if name in TYPICAL else []) for name in MISTAKES])
def test_a_mistake_has_its_exit_code_and_a_message_that_says_what_would_be_right(
    outcomes: dict[str, Outcome], name: str
) -> None:
    code, stderr = outcomes[name]
    assert code == MISTAKES[name].code
    for word in MISTAKES[name].words:
        assert word in stderr
    if code == USAGE:
        assert "Traceback" not in stderr


def test_a_broken_import_is_told_once_for_four_workers(start: Start, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(MISSING_IMPORT)
    server = start("main", "--port", "0", "--workers", "4", ready=False)
    assert server.wait() == STARTUP
    assert server.stderr.count("Traceback (most recent call last)") == 1
    assert server.stderr.count("surely_missing") <= 3  # the message, the line of code, the error
    assert "importlib" not in server.stderr


@pytest.mark.feature
def test_a_busy_port_is_named(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = start("application:app", "--app-dir", str(HERE), "--port", str(port), ready=False)
        assert server.wait() == STARTUP
    assert f"port {port} on 127.0.0.1 is in use; stop the other server or choose another --port" in server.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_second_corehttp_cannot_join_the_port_of_the_first(start: Start, workers: str) -> None:
    first = start(*APP, "--workers", "2")
    second = start(*APP[:-1], str(first.port), "--workers", workers, ready=False)
    assert second.wait() == STARTUP
    assert f"port {first.port} on 127.0.0.1 is in use" in second.stderr
    assert httpx.get(first.url).text == "hello"


def test_the_path_of_a_live_server_is_not_taken(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    first = start(*APP, "--uds", str(path))
    second = start(*APP, "--uds", str(path), ready=False)
    assert second.wait() == STARTUP
    assert f"uds {path} is in use by another server; stop it or choose another path" in second.stderr
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        assert client.get("http://local/").text == "hello"
    assert first.stop() == 0


@pytest.mark.feature
def test_a_plain_file_is_not_replaced_by_a_socket(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    server = start(*APP, "--uds", str(path), ready=False)
    assert server.wait() == STARTUP
    assert f"uds {path} exists and is not a socket; choose another path" in server.stderr
    assert path.read_text() == "precious"


@pytest.mark.feature
def test_the_socket_that_a_killed_server_has_left_is_replaced(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    server = start(*APP, "--uds", str(path))
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        assert client.get("http://local/").text == "hello"
    assert server.stop() == 0


def test_variables_that_are_no_options_cost_one_line_each(start: Start) -> None:
    env = {
        "COREHTTP_PORT": "tcp://10.0.0.1:8000",
        "COREHTTP_SERVICE_HOST": "10.0.0.1",
        "COREHTTP_PORT_8000_TCP_ADDR": "10.0.0.1",
        "COREHTTP_WORKES": "3",
    }
    server = start(*APP, env=env)
    assert httpx.get(server.url).text == "hello"
    port, workers = [line for line in server.stderr.splitlines() if " WARNING " in line]
    assert "COREHTTP_PORT=tcp://10.0.0.1:8000 is ignored: Kubernetes sets it" in port
    assert workers.endswith("COREHTTP_WORKES is not an option and is ignored; did you mean 'COREHTTP_WORKERS'?")
    assert server.stop() == 0
