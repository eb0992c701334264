"""The quick starts and deployment pages of frameworks, followed word for word with the command's name changed.

A command of uvicorn is given to corehttp as it is; one of gunicorn is first translated by `corehttp migrate`. Only a
port is added, so that tests do not meet.
"""

import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Start
from tests.kit.server_process import PATIENCE, ROOT

pytestmark = pytest.mark.e2e


@dataclass
class Guide:
    """What a reader of a framework's pages has in the end: files, commands, and what the browser shows."""

    files: Mapping[str, str]
    commands: tuple[str, ...]
    shows: str
    setup: tuple[str, ...] = ()  # a Python module with its arguments, run before


GUIDES = {
    "fastapi": Guide(
        {
            "main.py": """
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def root():
    return {"message": "Hello World"}
"""
        },
        (
            "uvicorn main:app",
            "uvicorn main:app --host 0.0.0.0 --port 8080",
            "uvicorn main:app --proxy-headers --host 0.0.0.0 --port 80",
            "uvicorn main:app --host 0.0.0.0 --port 8080 --workers 4",
            "uvicorn main:app --root-path /api/v1",
            "gunicorn main:app --workers 4 --worker-class uvicorn.workers.UvicornWorker --bind 0.0.0.0:80",
        ),
        '{"message":"Hello World"}',
    ),
    "starlette": Guide(
        {
            "example.py": """
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route


async def homepage(request):
    return JSONResponse({'hello': 'world'})


app = Starlette(debug=True, routes=[
    Route('/', homepage),
])
"""
        },
        ("uvicorn example:app",),
        '{"hello":"world"}',
    ),
    "litestar": Guide(
        {
            "app.py": """
from litestar import Litestar, get


@get("/")
async def index() -> str:
    return "Hello, world!"


app = Litestar([index])
"""
        },
        ("uvicorn app:app", "uvicorn app:app --host=0.0.0.0 --port 80 --workers 2"),
        "Hello, world!",
    ),
    "quart": Guide(
        {
            "example.py": """
from quart import Quart

app = Quart(__name__)


@app.route('/')
async def hello():
    return 'Hello, World!'
"""
        },
        ("uvicorn example:app",),
        "Hello, World!",
    ),
    "flask": Guide(
        {
            "hello.py": """
from flask import Flask


def create_app():
    app = Flask(__name__)

    @app.route("/")
    def hello_world():
        return "<p>Hello, World!</p>"

    return app


app = create_app()
"""
        },
        (
            "gunicorn -w 4 'hello:app'",
            "gunicorn -w 4 'hello:create_app()'",
            "gunicorn -w 4 -b 0.0.0.0 'hello:create_app()'",
            "gunicorn -w 4 --access-logfile=- 'hello:create_app()'",
        ),
        "<p>Hello, World!</p>",
    ),
    "django": Guide(
        {},
        (
            "uvicorn myproject.asgi:application",
            "gunicorn myproject.asgi:application -k uvicorn_worker.UvicornWorker",
            "gunicorn myproject.wsgi",
        ),
        "The install worked successfully! Congratulations!",
        setup=("django", "startproject", "myproject", "."),
    ),
}
QUICKLY = ("uvicorn main:app",)  # what `make check` runs
STEPS = [
    pytest.param(name, command, id=f"{name}: {command}", marks=pytest.mark.feature if command in QUICKLY else [])
    for name, guide in GUIDES.items()
    for command in guide.commands
]


def ours(command: str, directory: Path) -> list[str]:
    """The arguments of corehttp in the place of a command of another server."""
    program, *words = shlex.split(command)
    if program == "uvicorn":
        return words
    migrated = subprocess.run(
        [sys.executable, "-m", "corehttp", "migrate", command],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
    ).stdout
    program, *words = shlex.split(migrated, comments=True)
    assert program == "corehttp"
    assert "no equal" not in migrated
    return words


def on_a_free_port(words: list[str]) -> list[str]:
    """The arguments with any free port in the place of the one that they name."""
    if "--bind" not in words:
        return [*words, "--port", "0"]
    address = words.index("--bind") + 1
    return [*words[:address], f"{words[address].rpartition(':')[0]}:0", *words[address + 1 :]]


@pytest.mark.parametrize(("name", "command"), STEPS)
def test_a_page_is_followed_word_for_word(start: Start, tmp_path: Path, name: str, command: str) -> None:
    guide = GUIDES[name]
    for file, text in guide.files.items():
        (tmp_path / file).write_text(text)
    if guide.setup:
        subprocess.run([sys.executable, "-m", *guide.setup], cwd=tmp_path, check=True, timeout=PATIENCE)
    server = start(*on_a_free_port(ours(command, tmp_path)))
    answer = httpx.get(f"http://127.0.0.1:{server.port}/", timeout=PATIENCE)
    assert answer.status_code == 200
    assert guide.shows in answer.text
    assert server.stop() == 0
    assert " ERROR " not in server.stderr
