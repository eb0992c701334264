"""What is served: the examples with real clients, both parsers, both loops, every kind of socket, the options."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Start
from tests.kit.extent import crossed, varied
from tests.kit.programs import curl
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import APP, HERE, ServerProcess, until

pytestmark = pytest.mark.e2e

EXAMPLE = ("--port", "0", "--workers", "2")
NOTE = {"text": "remember", "tags": ["a", "b"]}


@pytest.fixture(scope="module", params=varied("examples.fastapi_app:app", "examples.starlette_app:app"))
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    server = ServerProcess((request.param, *EXAMPLE), tmp_path_factory.mktemp("example"))
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.end()


def test_an_example_answers_httpx(example: ServerProcess) -> None:
    with httpx.Client(base_url=example.url) as client:
        assert client.get("/").json() == {"message": "Hello, world!"}
        assert client.get("/items/7").json() == {"id": 7}
        assert client.get("/items/seven").status_code in (404, 422)
        assert client.get("/slow", params={"seconds": "0.01"}).json() == {"slept": 0.01}


def test_an_example_answers_curl(example: ServerProcess) -> None:
    answer = curl("--include", f"{example.url}/", f"{example.url}/items/7")
    assert answer.count("HTTP/1.1 200 OK\r\n") == 2
    assert '"Hello, world!"' in answer


def test_an_example_echoes_a_post(example: ServerProcess) -> None:
    assert httpx.post(f"{example.url}/echo", json=NOTE).json() == NOTE
    # curl asks with `Expect: 100-continue` before it sends a body.
    arguments = ("--header", "Expect: 100-continue", "--header", "Content-Type: application/json")
    assert json.loads(curl(*arguments, "--data", json.dumps(NOTE), f"{example.url}/echo")) == NOTE


def test_an_example_streams_line_by_line(example: ServerProcess) -> None:
    with httpx.stream("GET", f"{example.url}/stream") as response:
        assert response.headers["transfer-encoding"] == "chunked"
        pieces = list(response.iter_raw())
    assert "".join(piece.decode() for piece in pieces) == "".join(f"line {number}\n" for number in range(10))
    assert len(pieces) > 1


def test_an_example_is_served_by_both_workers(example: ServerProcess) -> None:
    def both_have_answered() -> bool:
        httpx.get(f"{example.url}/")
        return "[worker 1]" in example.stdout and "[worker 2]" in example.stdout

    until(both_have_answered, "an access log line of each worker")


@pytest.mark.feature
@crossed(("http", "loop"), ["httptools", "h11"], ["uvloop", "asyncio"])
def test_each_parser_runs_in_each_loop(start: Start, http: str, loop: str) -> None:
    server = start(*APP, "--http", http, "--loop", loop)
    with httpx.Client(base_url=server.url) as client:
        who = client.get("/who").json()
        assert who["parsers"] == [http]
        assert who["loop"] == loop
        assert client.post("/echo", content=b"x" * 100_000).text == "x" * 100_000
        assert client.get("/stream?lines=3").text == "line 0\nline 1\nline 2\n"
    assert server.stop() == 0


@pytest.mark.feature
def test_port_0_prints_the_port(start: Start) -> None:
    server = start(*APP)
    assert server.port > 0
    assert f"127.0.0.1:{server.port}" in server.stderr
    assert httpx.get(f"http://127.0.0.1:{server.port}/").text == "hello"


@pytest.mark.parametrize("workers", varied("2", "1"))
def test_a_unix_socket_is_served_and_removed(start: Start, tmp_path: Path, workers: str) -> None:
    path = tmp_path / "socket"
    server = start(*APP, "--uds", str(path), "--workers", workers)
    assert server.uds == str(path)
    with httpx.Client(transport=httpx.HTTPTransport(uds=server.uds), base_url="http://local") as client:
        who = client.get("/who").json()
        assert who["client"] is None
        assert who["server"] == [str(path), None]
    assert server.stop() == 0
    assert not path.exists()


@pytest.mark.parametrize("supervise", varied("--supervise", "--no-supervise"))
def test_an_inherited_socket_outlives_the_server_and_what_comes_in_then_waits_for_the_next(
    start: Start, supervise: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as inherited:
        arguments = (*APP, supervise, "--fd", str(inherited.fileno()))
        first = start(*arguments, pass_fds=[inherited.fileno()])
        assert httpx.get(first.url).text == "hello"
        first.url = ""  # it stays open: it is ours
        assert first.stop() == 0
        with RawConnection(inherited.getsockname()[1]) as client:
            client.ask("/")
            start(*arguments, pass_fds=[inherited.fileno()])
            assert client.answer()[1] == b"hello"


@pytest.mark.feature
def test_a_factory_makes_the_application(start: Start) -> None:
    server = start("application:factory", *APP[1:], "--factory")
    assert httpx.get(server.url).text == "hello"


@pytest.mark.feature
def test_the_application_is_found_in_the_current_directory(start: Start, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text((HERE / "application.py").read_text())
    server = start("main", "--port", "0")
    assert httpx.get(server.url).text == "hello"


@pytest.mark.feature
def test_response_headers_are_as_asked(start: Start) -> None:
    server = start(
        *(*APP, "--header", "X-Frame-Options: DENY", "--header", "x-two:2"),
        *("--no-server-header", "--no-date-header", "--root-path", "/prefix"),
    )
    response = httpx.get(f"{server.url}/who")
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["x-two"] == "2"
    assert "server" not in response.headers
    assert "date" not in response.headers
    assert response.json()["root_path"] == "/prefix"
    assert response.json()["path"] == "/prefix/who"


@pytest.mark.feature
def test_by_default_a_response_has_date_and_server(two_workers: ServerProcess) -> None:
    response = httpx.get(two_workers.url)
    assert response.headers["server"] == "corehttp"
    assert response.headers["date"].endswith(" GMT")


@pytest.mark.feature
def test_a_flag_wins_over_the_environment_and_that_over_the_file(start: Start, tmp_path: Path) -> None:
    (tmp_path / "corehttp.toml").write_text(
        'app = "application:app"\nport = 1\nroot-path = "/file"\nlog-format = "json"\nheader = ["x-from: file"]\n'
    )
    env = {"COREHTTP_PORT": "0", "COREHTTP_ROOT_PATH": "/env", "COREHTTP_HEADER": "x-from: env\nx-env: yes"}
    server = start("--app-dir", str(HERE), "--root-path", "/flag", "--log-format", "text", env=env)
    response = httpx.get(f"{server.url}/who")
    assert response.json()["root_path"] == "/flag"
    assert response.headers["x-from"] == "env"
    assert response.headers["x-env"] == "yes"


@pytest.mark.feature
def test_pyproject_toml_and_web_concurrency_configure_the_command(start: Start, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.corehttp]\napp = "application:app"\nport = 0\nworkers = 3\naccess_log = false\n'
    )
    server = start("--app-dir", str(HERE), env={"WEB_CONCURRENCY": "2"})
    assert len(server.worker_pids()) == 2
    assert httpx.get(server.url).text == "hello"
    assert server.stop() == 0
    assert server.stdout == ""


@pytest.mark.feature
def test_no_supervise_serves_in_one_process(start: Start) -> None:
    server = start(*APP, "--no-supervise")
    assert httpx.get(f"{server.url}/who").json()["pid"] == server.pid
    assert server.processes() == [server.pid]
    assert server.stop() == 0
