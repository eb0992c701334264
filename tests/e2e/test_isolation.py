"""Applications in the field: with middleware that knows few messages, and with requests kept apart by their context."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.e2e.conftest import Start
from tests.kit.server_process import ServerProcess

pytestmark = pytest.mark.e2e

CONTENT = b"".join(b"%d: a line of a text file\n" % number for number in range(20_000))
LIMITS = ("--limit-concurrency", "3", "--limit-queue", "99", "--limit-queue-timeout", "60")
CLIENTS, TIMES = 8, 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    directory = tmp_path_factory.mktemp("middleware")
    file = directory / "content.txt"
    file.write_bytes(CONTENT)
    arguments = ("tests.e2e.frameworks.middleware_app:app", "--port", "0")
    server = ServerProcess(arguments, directory, env={"FILE_TO_SEND": str(file)})
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.end()


@pytest.mark.feature
@pytest.mark.parametrize("framework", ["starlette", "baize"])
@pytest.mark.parametrize(
    ("middleware", "coding"),
    [("brotli", "br"), ("zstd", "zstd"), ("gzip", "gzip"), ("tagging", ""), ("passing", ""), ("none", "")],
)
def test_a_file_comes_through_middleware_that_knows_only_start_and_body(
    server: ServerProcess, framework: str, middleware: str, coding: str
) -> None:
    url = f"{server.url}/{middleware}/{framework}"
    if coding != "zstd":
        response = httpx.get(url, headers={"accept-encoding": coding})
        assert response.content == CONTENT
    else:  # which httpx cannot read by itself
        with httpx.stream("GET", url, headers={"accept-encoding": coding}) as response:
            assert b"".join(response.iter_raw()).startswith(b"\x28\xb5\x2f\xfd")
    assert response.status_code == 200
    assert response.headers.get("content-encoding", "") == coding
    assert "application" not in server.stderr


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("limits", [(), LIMITS], ids=["no limits", "limits"])
def test_flask_behind_an_adapter_knows_every_request_by_its_own_name(
    start: Start, loop: str, limits: tuple[str, ...]
) -> None:
    server = start("tests.e2e.frameworks.flask_app:app", "--port", "0", "--loop", loop, *limits)

    def ask(client: int) -> list[tuple[int, str]]:
        """Answers what was wrong."""
        wrong = []
        with httpx.Client(base_url=server.url, timeout=60) as http:
            for number in range(TIMES):
                name = f"{client}-{number}"
                size = (0, 100, 200_000)[number % 3]
                response = http.request("POST" if size else "GET", f"/{name}?name={name}", content=b"x" * size)
                if response.text != f"{name} {name} {name} {size}":
                    wrong.append((response.status_code, response.text))
        return wrong

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert [wrong for each in pool.map(ask, range(CLIENTS)) for wrong in each] == []
    assert "Error" not in server.stderr.replace("ValueError('WSGI wrapper", "")
