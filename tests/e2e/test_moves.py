"""Projects that move from uvicorn, gunicorn and PM2: the command of `corehttp migrate`, word for word, does the same.

The other server is run first, where it can be; its answers, its number of processes and where its lines go are what is
expected. PM2 itself is not run: of it the program that it starts is.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tests.kit.ports import free_port
from tests.kit.server_process import PATIENCE, ROOT, until

pytestmark = pytest.mark.e2e

FROM_A_PROXY = {"x-forwarded-for": "9.9.9.9", "x-forwarded-proto": "https"}
OF_THE_SERVER = {"date", "server", "connection", "content-length", "transfer-encoding"}

FASTAPI = {
    "app/__init__.py": "",
    "app/main.py": """
import os
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request


@asynccontextmanager
async def lifespan(app):
    with open(f"begun-{os.getpid()}", "w"):
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def root(request: Request):
    print("printed", flush=True)
    return {
        "client": request.client.host,
        "url": str(request.url_for("item", n=3)),
        "root_path": request.scope["root_path"],
        "stage": os.environ["STAGE"],
    }


@app.get("/items/{n}")
async def item(n: int):
    return {"n": n}


@app.get("/fail")
async def fail():
    raise RuntimeError("by design")
""",
    ".env": "STAGE=production\n",
    "Procfile": "web: uvicorn app.main:app --host=127.0.0.1 --port=${PORT:-8000} --workers $WORKERS --env-file .env "
    "--proxy-headers --forwarded-allow-ips '127.0.0.1,::1' --root-path /api --no-server-header --limit-concurrency 50 "
    "--timeout-keep-alive 5 --limit-max-requests 1000 --log-level warning\n",
}
DJANGO = {
    "shop/__init__.py": "",
    "shop/settings.py": """
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
SECRET_KEY = "x"
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
USE_X_FORWARDED_HOST = True
""",
    "shop/urls.py": """
import os

from django.http import JsonResponse, StreamingHttpResponse
from django.urls import path


def index(request):
    return JsonResponse({
        "path": request.get_full_path(),
        "url": request.build_absolute_uri(),
        "body": request.body.decode(),
        "stage": os.environ["STAGE"],
        "threads": request.META["wsgi.multithread"],
    })


def stream(request):
    return StreamingHttpResponse(f"{number}\\n" for number in range(3))


def fail(request):
    raise RuntimeError("by design")


urlpatterns = [path("", index), path("stream", stream), path("fail", fail)]
""",
    "shop/wsgi.py": """
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
application = get_wsgi_application()
""",
    "gunicorn.conf.py": """
import multiprocessing

bind = "127.0.0.1:PORT"
backlog = 512
workers = min(2, multiprocessing.cpu_count() * 2 + 1) and 2
worker_class = "gthread"
threads = 4
timeout = 60
graceful_timeout = 20
keepalive = 5
max_requests = 1000
max_requests_jitter = 100
preload_app = True
wsgi_app = "shop.wsgi:application"
raw_env = ["STAGE=in production"]
accesslog = "access.log"
access_log_format = '"%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
errorlog = "error.log"
pidfile = "shop.pid"
proc_name = "shop"
control_socket_disable = True


def post_fork(server, worker):
    server.log.info("worker %s has begun", worker.pid)
""",
}
ECOSYSTEM = {
    "api/main.py": """
import os


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        with open(f"begun-{os.getpid()}", "w"):
            await send({"type": "lifespan.startup.complete"})
        await receive()
        return await send({"type": "lifespan.shutdown.complete"})
    if scope["path"] == "/fail":
        raise RuntimeError("by design")
    body = f"{scope['client'][0]} {scope['scheme']} {os.environ['STAGE']}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})
""",
    "api/logs/.keep": "",
    "ecosystem.config.js": """
const path = require("path");

module.exports = {
  apps: [{
    name: "api", // as `pm2 list` shows it
    cwd: path.join(__dirname, "api"),
    script: "uvicorn",
    interpreter: "none",
    args: ["main:app", "--port", process.env.PORT || 8000, "--workers", "2"],
    out_file: "./logs/out.log",
    error_file: "./logs/error.log",
    merge_logs: true,
    max_memory_restart: "900M",
    kill_timeout: 5000,
    env: { STAGE: "production" },
  }],
};
""",
}


def lay_out(directory: Path, files: Mapping[str, str], **texts: str) -> None:
    """Write the files of a project, with these words in them replaced."""
    for name, text in files.items():
        for word, instead in texts.items():
            text = text.replace(word, instead)
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)


def variables(**more: str) -> dict[str, str]:
    """The environment of a shell in which both servers are installed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COREHTTP_CONTROL": "off", **more}


def migrated(directory: Path, *words: str) -> tuple[str, str]:
    """The command that `corehttp migrate` prints, and its comments."""
    done = subprocess.run(
        [sys.executable, "-m", "corehttp", "migrate", *words],
        cwd=directory,
        env=variables(),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    [command] = [line for line in lines if not line.startswith("#")]
    return command, "\n".join(line for line in lines if line.startswith("#"))


class Running:
    """A server that a shell has become."""

    def __init__(self, process: "subprocess.Popen[bytes]", directory: Path, url: str) -> None:
        self.process = process
        self.url = url
        self._directory = directory

    def output(self, name: str) -> str:
        """What was written to "out" or "err"."""
        return (self._directory / name).read_text()

    def begun(self) -> int:
        """How many processes have begun the application's lifespan."""
        return len(list(self._directory.rglob("begun-*")))

    def answers_at_all(self) -> bool:
        """Whether a request is answered with 200."""
        try:
            return httpx.get(self.url, headers=FROM_A_PROXY, timeout=PATIENCE).status_code == 200
        except httpx.TransportError:
            return False

    def answers(self, requests: Sequence[tuple[str, str]]) -> list[object]:
        """What a client is answered, but for what is the server's own affair."""
        found: list[object] = []
        for method, path in requests:  # over a connection each: uvicorn closes that of a request that has failed
            content = b"a=1" if method == "POST" else None
            url = f"{self.url}{path}"
            response = httpx.request(method, url, headers=FROM_A_PROXY, content=content, timeout=PATIENCE)
            fields = {name: value for name, value in response.headers.items() if name not in OF_THE_SERVER}
            found.append((method, path, response.status_code, fields, response.text))
        return found


@contextmanager
def running(command: str, directory: Path, port: int, **more: str) -> Iterator[Running]:
    """Have a shell run a command, and end what it has become by SIGTERM at the end of the context."""
    for path in directory.rglob("begun-*"):
        path.unlink()
    env = variables(**more)
    with (directory / "out").open("wb") as out, (directory / "err").open("wb") as err:
        process = subprocess.Popen(["sh", "-c", command], cwd=directory, env=env, stdout=out, stderr=err)
    server = Running(process, directory, f"http://127.0.0.1:{port}")
    try:
        until(lambda: server.answers_at_all() or process.poll() is not None, "the server")
        assert process.poll() is None, server.output("err")
        yield server
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_a_fastapi_project_moves_from_the_command_of_its_procfile(tmp_path: Path) -> None:
    port = free_port()
    lay_out(tmp_path, FASTAPI)
    line = (tmp_path / "Procfile").read_text()
    requests = [("GET", "/"), ("GET", "/items/3"), ("GET", "/items/x"), ("GET", "/fail"), ("GET", "/no"), ("POST", "/")]
    own = {"PORT": str(port), "WORKERS": "2"}
    with running(f"exec {line.partition(': ')[2]}", tmp_path, port, **own) as before:
        expected = before.answers(requests)
        until(lambda: before.begun() == 2, "both workers")
    out, err = before.output("out"), before.output("err")

    command, comments = migrated(tmp_path, line)
    assert command.startswith('corehttp app.main:app --env-file .env --port "${PORT:-8000}" --workers "$WORKERS" ')
    assert "has no equal" not in comments
    with running(f"exec {command}", tmp_path, port, **own) as after:
        assert after.answers(requests) == expected
        until(lambda: after.begun() == 2, "both workers")
    assert set(after.output("out").splitlines()) == set(out.splitlines()) == {"printed"}, "no line of a request"
    for text in (after.output("err"), err):
        assert "RuntimeError: by design" in text
        assert "/items/3" not in text


@pytest.mark.feature
def test_a_django_project_moves_from_its_gunicorn_conf_py(tmp_path: Path) -> None:
    port = free_port()
    lay_out(tmp_path, DJANGO, PORT=str(port))
    requests = [("GET", "/?q=1"), ("POST", "/"), ("GET", "/stream"), ("GET", "/fail"), ("GET", "/no")]
    access, errors, pid = (tmp_path / name for name in ("access.log", "error.log", "shop.pid"))
    with running("exec gunicorn", tmp_path, port) as before:
        expected = before.answers(requests)
        until(lambda: len(psutil.Process(before.process.pid).children()) == 2, "both workers")
        assert pid.read_text().strip() == str(before.process.pid)
    lines = access.read_text().splitlines()
    access.unlink()
    errors.unlink()

    command, comments = migrated(tmp_path, "gunicorn")
    assert "#   post_fork: there are no hooks; use the application's lifespan" in comments
    with running(f"exec env {command}", tmp_path, port) as after:
        assert after.answers(requests) == expected
        assert pid.read_text().strip() == str(after.process.pid)
        assert "all 2 workers ready" in errors.read_text()
    assert not pid.exists()
    assert sorted(access.read_text().splitlines()) == sorted(lines), "the lines of requests, in the same form and place"
    for server in (before, after):
        assert server.output("out") == server.output("err") == ""


def test_an_application_moves_from_its_ecosystem_file_of_pm2(tmp_path: Path) -> None:
    port = free_port()
    lay_out(tmp_path, ECOSYSTEM)
    requests = [("GET", "/"), ("GET", "/items/3"), ("GET", "/fail")]
    logs = tmp_path / "api" / "logs"
    # What PM2 runs for this file, and where it writes.
    run = f"STAGE=production exec uvicorn main:app --port {port} --workers 2 >logs/out.log 2>logs/error.log"
    with running(f"cd api && {run}", tmp_path, port) as before:
        expected = before.answers(requests)
        until(lambda: before.begun() == 2, "both workers")
    assert '"GET /items/3 HTTP/1.1" 200' in (logs / "out.log").read_text()
    (logs / "out.log").unlink()
    (logs / "error.log").unlink()

    command, comments = migrated(tmp_path, "ecosystem.config.js")
    assert "has no equal" not in comments
    there, _, ours = command.partition(" && ")
    assert there == "cd ./api"
    with running(f"{there} && exec env {ours}", tmp_path, port, PORT=str(port)) as after:
        assert after.answers(requests) == expected
        until(lambda: after.begun() == 2, "both workers")
    assert '"GET /items/3 HTTP/1.1" 200' in (logs / "out.log").read_text()
    assert "RuntimeError: by design" in (logs / "error.log").read_text()
    assert after.output("err") == ""
