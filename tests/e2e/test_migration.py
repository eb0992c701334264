"""What somebody types who comes from uvicorn or gunicorn, with the name of the command changed."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import httpx
import pytest
import uvicorn.main  # noqa: F401  # for its command, which a function of that name hides

from corehttp.migration.uvicorn import FLAGS
from tests.e2e.conftest import Start
from tests.kit.server_process import APP, ROOT

pytestmark = pytest.mark.e2e

UVICORN: click.Command = sys.modules["uvicorn.main"].main


@pytest.mark.feature
def test_flags_of_uvicorn_are_understood_and_a_debug_line_says_as_what(start: Start) -> None:
    server = start(
        *(*APP, "--port", "0", "--log-level", "debug", "--ws", "websockets-sansio"),
        *("--h11-max-incomplete-event-size", "300", "--ws-per-message-deflate", "false", "--reset-contextvars"),
    )
    for line in (
        "--ws websockets-sansio is taken as on",
        "--h11-max-incomplete-event-size 300 is taken as --limit-request-head 300",
        "--ws-per-message-deflate false is taken as --ws-compression off",
        "--reset-contextvars is taken: nothing follows from it",
    ):
        server.wait_for_log(line)
    assert httpx.get(server.url).status_code == 200
    assert httpx.get(server.url, headers={"a": "b" * 400}).status_code == 431


def test_each_flag_of_uvicorn_is_taken_with_its_own_default(start: Start) -> None:
    known = {name: flag for flag in FLAGS for name in flag.names if flag.ours or flag.convert}
    words: list[str] = []
    for parameter in UVICORN.params:
        flag = known.get(parameter.opts[0])
        default = parameter.get_default(click.Context(UVICORN))
        if flag is None or default in (None, False, "", []) or not isinstance(default, str | int | float):
            continue
        words += [flag.key, str(default)] if flag.takes_value else [flag.key]
    assert {"--ws", "--loop", "--proxy-headers", "--ws-per-message-deflate", "--timeout-keep-alive"} <= set(words)
    server = start(*APP, *words, "--port", "0")
    assert httpx.get(server.url).status_code == 200


def test_without_the_level_debug_nothing_is_said_of_them(start: Start) -> None:
    server = start(*APP, "--port", "0", "--ws", "auto", "--reset-contextvars")
    assert server.stop() == 0
    assert "is taken" not in server.stderr


def test_a_refused_flag_of_gunicorn_brings_the_whole_command(start: Start) -> None:
    server = start("main:app", "-w", "4", "-k", "uvicorn.workers.UvicornWorker", "-b", "0.0.0.0:80", "-D", ready=False)
    assert server.wait() == 2
    assert server.stderr.endswith(
        "Error: There is no option -w: use --workers\n"
        "Instead: corehttp main:app --bind 0.0.0.0:80 --workers 4 "
        "(`corehttp migrate gunicorn ...` says what is left out)\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--h11-max-incomplete-event-size", "x"), "Error: --h11-max-incomplete-event-size: 'x' is not valid; "),
        (("--http2",), "Error: There is no option --http2: HTTP/2 is not spoken; a proxy in front does\n"),
        (("--max-requests", "9"), "Error: There is no option --max-requests: use --limit-max-requests\n"),
        (("-k", "uvicorn.workers.UvicornWorker"), "Error: There is no option -k: every worker runs an event loop; "),
        (("-c", "gunicorn.conf.py"), "Error: There is no option -c: options are read from corehttp.toml or "),
    ],
)
def test_other_flags_are_refused_with_what_to_use(start: Start, words: tuple[str, ...], message: str) -> None:
    server = start(*APP, *words, ready=False)
    assert server.wait() == 2
    assert message in server.stderr


FILE = """
import multiprocessing
import os

bind = f"127.0.0.1:{os.getenv('PORT', '0')}"
workers = 2
worker_class = "uvicorn.workers.UvicornWorker"
graceful_timeout = 20
accesslog = "-"
proc_name = "moved"
wsgi_app = "main:make()"


def post_fork(server, worker):
    pass
"""
ECOSYSTEM = """
module.exports = {
  apps: [{
    name: 'shop', script: '/opt/venv/bin/gunicorn', cwd: 'DIRECTORY', instances: 2,
    args: "main:make() -k uvicorn.workers.UvicornWorker -b 127.0.0.1:0", // as it was
    env: { SAYS: 'it is here' },
  }],
};
"""
APPLICATION = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route


def make():
    async def hello(request):
        return PlainTextResponse("moved")

    return Starlette(routes=[Route("/", hello)])
"""


def migrated(directory: Path, *words: str) -> list[str]:
    """The lines that `corehttp migrate` prints in a directory."""
    done = subprocess.run(
        [sys.executable, "-m", "corehttp", "migrate", *words],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.feature
def test_the_command_for_a_gunicorn_conf_py_serves_the_application(start: Start, tmp_path: Path) -> None:
    (tmp_path / "gunicorn.conf.py").write_text(FILE)
    (tmp_path / "main.py").write_text(APPLICATION)
    command, *comments = migrated(tmp_path, "gunicorn", "-k", "asgi")
    times = "--timeout-graceful-shutdown 20"
    assert command == f"corehttp main:make --factory --bind 127.0.0.1:0 --workers 2 {times} --name moved"
    assert "#   post_fork: there are no hooks; use the application's lifespan" in comments
    assert all(line.startswith("#") for line in comments)
    server = start(*shlex.split(command)[1:])
    assert httpx.get(server.url).text == "moved"


def test_the_command_for_an_ecosystem_file_serves_the_application_in_its_directory(
    start: Start, tmp_path: Path
) -> None:
    directory = tmp_path / "the shop"
    directory.mkdir()
    (directory / "main.py").write_text(APPLICATION.replace('"moved"', "__import__('os').environ['SAYS']"))
    (tmp_path / "ecosystem.config.js").write_text(ECOSYSTEM.replace("DIRECTORY", str(directory)))
    title, command, *_ = migrated(tmp_path, "ecosystem.config.js")
    assert title == "# shop"
    there, _, ours = command.partition(" && ")
    assert ours == "SAYS='it is here' corehttp main:make --factory --bind 127.0.0.1:0 --workers 2 --name shop"
    assert shlex.split(there) == ["cd", str(directory)]
    variable, _, *arguments = shlex.split(ours)
    name, _, value = variable.partition("=")
    server = start(*arguments, env={name: value}, directory=directory)
    assert httpx.get(server.url).text == "it is here"


def test_what_cannot_be_migrated_is_a_mistake() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "corehttp", "migrate", "nowhere.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: nowhere.py cannot be read: No such file or directory" in done.stderr
