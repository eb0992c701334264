"""The operator's mistakes: each ends with the right exit code and a message that says what would be right."""

import socket
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Start
from tests.e2e.server_process import APP, HERE

pytestmark = pytest.mark.e2e

USAGE, STARTUP = 2, 3
MODULES = {
    "imports_nothing_known": "import surely_missing\n",
    "broken": "def app(:\n",
    "raises": "raise ValueError('by design')\n",
    "exits": "raise SystemExit(9)\n",
    "wsgi": "def app(environ, start_response): return []\n",
    "asgi2": "def app(scope): return None\n",
    "table": "app = {}\n",
    "classy": "class app:\n    async def __call__(self, scope, receive, send): ...\n",
    "makes": "def make():\n    async def app(scope, receive, send): ...\n    return app\n",
    "fails_to_make": "def make():\n    raise ValueError('no database')\n",
}


@pytest.mark.parametrize(
    ("application", "words"),
    [
        ("unknown_module", ["there is no module 'unknown_module' in ", "--app-dir"]),
        ("imports_nothing_known", ["'imports_nothing_known' cannot be imported", "No module named 'surely_missing'"]),
        ("broken", ["'broken' cannot be imported", "SyntaxError", "broken.py"]),
        ("raises", ["'raises' cannot be imported", "ValueError('by design')"]),
        ("exits", ["'exits' cannot be imported", "SystemExit(9)"]),
        ("makes:app", ["'makes' has no attribute 'app'; it has make"]),
        ("table", ["table is not an ASGI application: dict objects cannot be called"]),
        ("classy", ["classy is a class", "--factory"]),
        ("wsgi", ["wsgi is not an ASGI application: it looks like a WSGI application"]),
        ("asgi2", ["asgi2 is not an ASGI application: it looks like an ASGI 2 application"]),
        ("makes:make", ["makes:make is not an ASGI application: it looks like a factory: use --factory"]),
        ("path/to.py", ["'path/to.py' must be written as MODULE:ATTRIBUTE"]),
    ],
)
def test_an_application_that_cannot_be_loaded(start: Start, tmp_path: Path, application: str, words: list[str]) -> None:
    write_modules(tmp_path)
    server = start(application, "--port", "0", ready=False)
    assert server.wait() == STARTUP
    for word in words:
        assert word in server.stderr


def test_a_factory_that_fails(start: Start, tmp_path: Path) -> None:
    write_modules(tmp_path)
    server = start("fails_to_make:make", "--factory", "--no-supervise", "--port", "0", ready=False)
    assert server.wait() == STARTUP
    assert "the factory fails_to_make:make failed: ValueError('no database')" in server.stderr


def test_a_broken_import_is_told_once_for_four_workers(start: Start, tmp_path: Path) -> None:
    write_modules(tmp_path)
    server = start("imports_nothing_known", "--port", "0", "--workers", "4", ready=False)
    assert server.wait() == STARTUP
    assert server.stderr.count("Traceback (most recent call last)") == 1
    assert server.stderr.count("surely_missing") <= 3  # the message, the line of code, the error
    assert "importlib" not in server.stderr


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


def test_a_host_that_is_not_ours(start: Start) -> None:
    server = start(*APP, "--host", "192.0.2.1", ready=False)
    assert server.wait() == STARTUP
    assert "192.0.2.1 is not an address of this machine; choose another --host" in server.stderr


def test_the_path_of_a_live_server_is_not_taken(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    first = start(*APP, "--uds", str(path))
    second = start(*APP, "--uds", str(path), ready=False)
    assert second.wait() == STARTUP
    assert f"uds {path} is in use by another server; stop it or choose another path" in second.stderr
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        assert client.get("http://local/").text == "hello"
    assert first.stop() == 0


def test_a_plain_file_is_not_replaced_by_a_socket(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    server = start(*APP, "--uds", str(path), ready=False)
    assert server.wait() == STARTUP
    assert f"uds {path} exists and is not a socket; choose another path" in server.stderr
    assert path.read_text() == "precious"


def test_the_socket_that_a_killed_server_has_left_is_replaced(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    server = start(*APP, "--uds", str(path))
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
        assert client.get("http://local/").text == "hello"
    assert server.stop() == 0


def test_a_descriptor_that_is_not_a_socket(start: Start) -> None:
    server = start(*APP, "--fd", "0", ready=False)
    assert server.wait() == STARTUP
    assert "fd 0 is not a socket that this process has inherited" in server.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["no application", "MODULE:ATTRIBUTE"]),
        (["main:app", "--workers", "0"], ["--workers: '0'", "a number from 1, auto"]),
        (["main:app", "--port", "http"], ["--port: 'http'", "a whole number from 0 to 65535"]),
        (["main:app", "--loop", "gevent"], ["--loop: 'gevent'", "one of auto, uvloop, asyncio"]),
        (["main:app", "--timeout-keep-alive", "-1"], ["--timeout-keep-alive: '-1'", "a number of seconds, 0 or more"]),
        (["main:app", "--header", "nothing"], ["--header", "NAME:VALUE"]),
        (["main:app", "--uds", ""], ["--uds: ''", "some text"]),
        (["main:app", "--uds", "socket", "--fd", "3"], ["uds and fd exclude each other"]),
        (["main:app", "--no-supervise", "--workers", "2"], ["workers 2 need a supervisor"]),
        (["main:app", "--no-such-flag"], ["No such option", "--no-such-flag"]),
    ],
)
def test_a_wrong_argument_is_a_usage_error(start: Start, arguments: list[str], words: list[str]) -> None:
    server = start(*arguments, ready=False)
    assert server.wait() == USAGE
    for word in words:
        assert word in server.stderr
    assert "Traceback" not in server.stderr


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("pyproject.toml", "[tool.corehttp]\nworker = 2\n", ["'worker' is not an option; did you mean 'workers'?"]),
        ("corehttp.toml", 'supervise = "perhaps"\n', ["corehttp.toml: supervise: 'perhaps'", "true or false"]),
        ("corehttp.toml", "port = \n", ["corehttp.toml cannot be read as TOML"]),
    ],
)
def test_a_wrong_file_is_a_usage_error(start: Start, tmp_path: Path, file: str, text: str, words: list[str]) -> None:
    (tmp_path / file).write_text(text)
    server = start("main:app", ready=False)
    assert server.wait() == USAGE
    for word in (file, *words):
        assert word in server.stderr
    assert "Traceback" not in server.stderr


def test_a_wrong_value_in_the_environment_is_a_usage_error(start: Start) -> None:
    server = start("main:app", env={"WEB_CONCURRENCY": "many"}, ready=False)
    assert server.wait() == USAGE
    assert "WEB_CONCURRENCY: 'many' is not valid" in server.stderr


def write_modules(directory: Path) -> None:
    for name, text in MODULES.items():
        (directory / f"{name}.py").write_text(text)
