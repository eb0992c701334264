"""What the application finds: --env-file and --log-config, which are read again at a reload; and --use-colors."""

import re
import signal
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Start
from tests.kit.server_process import until

pytestmark = pytest.mark.e2e

APPLICATION = """
import logging
import os

GREETING = os.environ["GREETING"]  # at import, as settings are
logging.getLogger("shop").info("loaded with %s", GREETING)


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError
    if scope["path"] == "/fault":
        raise ValueError("a fault")
    body = f"{GREETING} {os.environ.get('COREHTTP_PORT')}".encode()
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": body})
"""
LOGGING = """
version = 1
disable_existing_loggers = true
[formatters.plain]
format = "{name} {message}"
style = "{"
[formatters.ours]
format = "<%(worker)s> %(message).40s"
[handlers.file]
class = "logging.FileHandler"
filename = "shop.log"
formatter = "plain"
[handlers.ours]
class = "logging.FileHandler"
filename = "ours.log"
formatter = "ours"
[loggers.shop]
level = "INFO"
handlers = ["file"]
[loggers."corehttp.error"]
handlers = ["ours"]
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text(APPLICATION)
    (tmp_path / ".env").write_text("GREETING='hello'\nCOREHTTP_PORT=1\n")
    (tmp_path / "log.toml").write_text(LOGGING)
    return tmp_path


@pytest.mark.feature
@pytest.mark.parametrize("mode", [("--workers", "2"), ("--preload",), ("--no-supervise",)])
def test_an_application_finds_variables_and_logging(start: Start, directory: Path, mode: tuple[str, ...]) -> None:
    server = start("main:app", "--port", "0", "--env-file", ".env", "--log-config", "log.toml", *mode)
    assert httpx.get(server.url).text == "hello 1"
    assert httpx.get(f"{server.url}/fault").status_code == 500
    assert "shop loaded with hello\n" in (directory / "shop.log").read_text()
    ours = directory / "ours.log"
    until(lambda: re.search("<worker [12]> exception in the application", ours.read_text()), "the line of the worker")
    assert "supervisor]" in server.stderr or mode == ("--no-supervise",)


def test_a_reload_reads_both_again_and_a_file_that_is_wrong_takes_over_nothing(start: Start, directory: Path) -> None:
    server = start("main:app", "--port", "0", "--env-file", ".env", "--log-config", "log.toml")
    (directory / ".env").write_text("GREETING=anew\n")
    (directory / "log.toml").write_text(LOGGING.replace("shop.log", "anew.log"))
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded in")
    assert httpx.get(server.url).text == "anew None"
    assert (directory / "anew.log").read_text() == "shop loaded with anew\n"
    (directory / "log.toml").write_text("version = 1\n[loggers.a]\nhandlers = ['nowhere']\n")
    server.signal(signal.SIGHUP)
    server.wait_for_log("log-config: log.toml configures no logging: ValueError")
    (directory / ".env").unlink()
    server.signal(signal.SIGHUP)
    server.wait_for_log(rf"env-file: there is no file {directory}/\.env")
    assert httpx.get(server.url).text == "anew None"


def test_handlers_and_formatters_may_be_classes_of_the_application(start: Start, directory: Path) -> None:
    (directory / "src").mkdir()
    (directory / "main.py").rename(directory / "src" / "main.py")
    code = "import logging\n\nclass Loud(logging.Formatter):\n    def format(self, record): return 'LOUD'\n"
    (directory / "src" / "shop_logs.py").write_text(code)
    (directory / "log.toml").write_text(LOGGING.replace('format = "{name} {message}"', 'class = "shop_logs.Loud"'))
    start("main:app", "--port", "0", "--env-file", ".env", "--log-config", "log.toml", "--app-dir", "src")
    assert (directory / "shop.log").read_text() == "LOUD\n"


def test_the_environment_wins_over_the_file(start: Start, directory: Path) -> None:
    server = start("main:app", "--port", "0", "--env-file", ".env", env={"GREETING": "mine"})
    assert httpx.get(server.url).text == "mine 1"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--env-file", "nowhere"), 2, "Error: env-file: there is no file {directory}/nowhere\n"),
        (("--log-config", "nowhere"), 2, "Error: log-config: there is no file {directory}/nowhere\n"),
        (("--log-config", "main.py"), 3, "log-config: main.py configures no logging: "),
    ],
)
def test_a_file_that_is_missing_or_wrong_ends_the_start(
    start: Start, directory: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    server = start("main:app", "--port", "0", *words, env={"GREETING": ""}, ready=False)
    assert server.wait() == code
    assert message.format(directory=directory) in server.stderr


@pytest.mark.parametrize(("flag", "has_colours"), [("--use-colors", True), ("--no-use-colors", False)])
def test_colours_are_as_the_flag_says(start: Start, directory: Path, flag: str, has_colours: bool) -> None:
    server = start("main:app", "--port", "0", flag, env={"GREETING": ""})
    httpx.get(server.url)
    assert server.stop() == 0
    assert ("\x1b[32mINFO" in server.stderr) == has_colours
    assert ("\x1b[32m200" in server.stdout) == has_colours
