"""What a worker can import, and what it cannot help importing: its import path and arguments are the command's."""

import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import ServerProcess

pytestmark = pytest.mark.e2e

MODES = [(), ("--no-supervise",), ("--preload",), ("--loop", "asyncio", "--http", "h11")]
# What `python -m` itself may import after it has put the current directory first.
PYTHONS_OWN = {"importlib", "runpy", "types", "warnings", "contextlib", "functools"}
PYTHONS_OWN |= {"collections", "itertools", "keyword", "operator", "reprlib"}
PUBLIC = {name for name in sys.stdlib_module_names if not name.startswith("_")}
STRANGERS = sorted((PUBLIC | {"click", "uvloop", "httptools", "h11"}) - PYTHONS_OWN)
APP = """
import sys

async def app(scope, receive, send):
    assert scope["type"] == "http"
    body = repr((sys.argv, sys.path)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""


def plant(directory: Path) -> None:
    """A module of the name of each that the server could import, which tells when it runs."""
    for name in STRANGERS:
        (directory / f"{name}.py").write_text(f"open({str(directory / 'ran')!r}, 'a').write('{name} ')\n")


def get(server: ServerProcess) -> bytes:
    with RawConnection(server.port) as client:
        return client.get("/")[1]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: " ".join(mode) or "supervised")
def test_no_module_beside_the_application_runs_in_place_of_another(
    start: Start, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    plant(tmp_path)
    (tmp_path / "web.py").write_text(APP)
    server = start("web:app", "--port", "0", *mode)
    assert get(server)
    assert server.stop() == 0
    assert not (tmp_path / "ran").exists(), (tmp_path / "ran").read_text()


@pytest.mark.feature
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: " ".join(mode) or "supervised")
def test_the_current_directory_is_in_the_path_only_if_it_is_the_applications(
    start: Start, tmp_path: Path, mode: tuple[str, ...]
) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "web.py").write_text(APP)
    server = start("web:app", "--app-dir", "src", "--port", "0", *mode)
    arguments, path = eval(get(server))
    assert path[0] == str(tmp_path / "src")
    assert str(tmp_path) not in path
    assert arguments[1:] == ["web:app", "--app-dir", "src", "--port", "0", *mode]


@pytest.mark.parametrize("options", ["", ", preload=True"])
def test_a_script_whose_path_holds_the_application_and_what_is_no_text(tmp_path: Path, options: str) -> None:
    """The directory of the application comes first wherever it was before; only text is passed on."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "test.py").write_text(APP)  # a name that the standard library has too
    (tmp_path / "go.py").write_text(
        "import enum, pathlib, sys\n"
        "lib = pathlib.Path('lib').absolute()\n"
        "class Name(enum.StrEnum):\n    HOST = '127.0.0.1'\n"
        "class Text(str): pass\n"
        "sys.path += [str(lib), lib, None, Text('more')]\n"
        "sys.argv += [Text('own'), 5]\n"
        "import corehttp\n"
        "if __name__ == '__main__':\n"
        f"    corehttp.run('test:app', app_dir=pathlib.Path('lib'), host=Name.HOST, port=0{options})\n"
    )
    server = ServerProcess(["--anything"], tmp_path, program=["go.py"])
    try:
        server.wait_until_ready()
        arguments, path = eval(get(server))
        assert server.stop() == 0
    finally:
        server.end()
    assert arguments[1:] == ["--anything", "own"]
    assert path[0] == str(tmp_path / "lib")
    assert path.count(path[0]) == 1
    assert path[-1] == "more"
