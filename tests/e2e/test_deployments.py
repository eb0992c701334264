"""Releases that are switched by a symbolic link: a reload serves the new one, wherever its name was given."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.kit.extent import crossed
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import ServerProcess, until

pytestmark = pytest.mark.e2e

APP = """
import os, sys
import part

async def app(scope, receive, send):
    assert scope["type"] == "http"
    body = "\\n".join([part.NAME, os.getcwd(), str(os.getpid()), *sys.path]).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""
# Where it is started, and with what; BASE is the directory in which the releases are.
WAYS = {
    "in the link": ("current", ()),
    "below the link": ("current/sub", ("--app-dir", "..")),
    "the link as --app-dir": ("current", ("--app-dir", "BASE/current")),
    "the link as a relative --app-dir": (".", ("--app-dir", "current")),
    "elsewhere": ("/", ("--app-dir", "BASE/current")),
}


def deploy(base: Path, release: str) -> None:
    directory = base / release
    (directory / "sub").mkdir(parents=True)
    (directory / "web.py").write_text(APP)
    (directory / "part.py").write_text(f"NAME = {release!r}\n")
    (base / "new").symlink_to(release)
    os.replace(base / "new", base / "current")


def started(start: Start, base: Path, way: str, *options: str) -> ServerProcess:
    deploy(base, "one")
    place, arguments = WAYS[way]
    own = [argument.replace("BASE", str(base)) for argument in arguments]
    directory = base / place
    environment = {"PWD": str(directory)}
    return start("web:app", "--port", "0", *own, *options, directory=directory, env=environment)


def seen(server: ServerProcess) -> tuple[str, str, str, list[str]]:
    """The release, the current directory, the process and the import path of the worker that answers."""
    with RawConnection(server.port) as client:
        release, directory, pid, *path = client.get("/")[1].decode().split("\n")
    return release, directory, pid, path


@crossed(("removed", "way"), [False, True], WAYS)
def test_a_reload_serves_the_new_release(start: Start, tmp_path: Path, way: str, removed: bool) -> None:
    options = ("--preload",) if removed else ("--workers", "2")
    server = started(start, tmp_path, way, *options)
    assert seen(server)[0] == "one"
    deploy(tmp_path, "two")
    if removed:
        shutil.rmtree(tmp_path / "one")
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded")
    release, directory, _, path = seen(server)
    assert release == "two"
    place = Path(WAYS[way][0])
    expected = {"current": tmp_path / "two", "current/sub": tmp_path / "two" / "sub", ".": tmp_path, "/": Path("/")}
    assert directory == str(expected[str(place)])
    assert path[0] == str(tmp_path / "two")
    assert not [entry for entry in path if entry.startswith(str(tmp_path / "one"))]
    assert server.stop() == 0


@pytest.mark.feature
def test_the_configuration_file_is_that_of_the_new_release(start: Start, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "corehttp.toml").write_text("header = ['x-release:one']\n")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "corehttp.toml").write_text("header = ['x-release:two']\n")
    for release in ("two", "one"):
        (tmp_path / release / "web.py").write_text(APP)
        (tmp_path / release / "part.py").write_text(f"NAME = {release!r}\n")
    current = tmp_path / "current"
    current.symlink_to("one")
    server = start("web:app", "--port", "0", directory=current, env={"PWD": str(current)})
    current.unlink()
    server.signal(signal.SIGHUP)
    server.wait_for_log("the reload has failed, the old workers serve on: the directory .*/current is gone")
    with RawConnection(server.port) as client:
        assert b"x-release: one" in client.get("/")[0]
    current.symlink_to("two")
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded")
    with RawConnection(server.port) as client:
        assert b"x-release: two" in client.get("/")[0]
    assert server.stop() == 0


@pytest.mark.feature
def test_a_worker_whose_release_was_removed_is_replaced_by_one_of_the_new(start: Start, tmp_path: Path) -> None:
    server = started(start, tmp_path, "in the link")
    _, _, pid, _ = seen(server)
    deploy(tmp_path, "two")
    shutil.rmtree(tmp_path / "one")
    os.kill(int(pid), signal.SIGKILL)
    server.wait_for_log(f"{tmp_path / 'one'} is gone: new workers start in {tmp_path / 'two'}")
    until(lambda: seen(server)[0] == "two", "the new release")
    assert server.stop() == 0


def test_a_new_supervisor_starts_in_the_new_release(start: Start, tmp_path: Path) -> None:
    server = started(start, tmp_path, "in the link")
    port = server.port
    deploy(tmp_path, "two")
    shutil.rmtree(tmp_path / "one")
    server.signal(signal.SIGUSR2)
    pid = int(server.wait_for_log(r"the new supervisor \(pid (\d+)\) is ready").group(1))
    assert server.wait() == 0
    with RawConnection(port) as client:
        assert client.get("/")[1].startswith(b"two\n")
    assert os.readlink(f"/proc/{pid}/cwd") == str(tmp_path / "two")
    os.kill(pid, signal.SIGTERM)
    until(lambda: not os.path.exists(f"/proc/{pid}"), "the end of the new supervisor")
