"""`--check-config` and `--print-config`: nothing is bound, and the exit code says what was found."""

import os
import socket
from pathlib import Path

import pytest

from tests.e2e.conftest import Start

pytestmark = pytest.mark.e2e

APPLICATION = """
import os
import threading

if "BROKEN" in os.environ:
    raise ValueError("broken")
threading.Thread(target=threading.Event().wait).start()  # never ends


async def app(scope, receive, send):
    pass
"""


@pytest.fixture(autouse=True)
def _main(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(APPLICATION)
    (tmp_path / ".env").write_text("BROKEN=1\n")


@pytest.mark.feature
def test_a_configuration_that_is_right_ends_with_0_and_binds_nothing(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        server = start("main:app", "--port", port, "--check-config", "--timeout-exit", "0.2", ready=False)
        assert server.wait() == 0
    assert server.stdout == f"corehttp: the options are right, and main:app can be loaded in {tmp_path}\n"


def test_what_a_start_warns_of_is_told(start: Start) -> None:
    env = {"COREHTTP_REALOAD": "1"}
    server = start("main:app", "--check-config", "--timeout-exit", "0.2", env=env, ready=False)
    assert server.wait() == 0
    assert "Warning: COREHTTP_REALOAD is not an option and is ignored; did you mean 'COREHTTP_RELOAD'?" in server.stderr


def test_no_log_file_is_made(start: Start, tmp_path: Path) -> None:
    words = ("--log-file", "log", "--access-log-file", str(tmp_path / "access"), "--timeout-exit", "0.2")
    assert start("main:app", "--check-config", *words, ready=False).wait() == 0
    assert not {"log", "access"} & set(os.listdir(tmp_path))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("main:app", "--port", "x"), 2, "Error: --port: 'x' is not valid"),
        (("main:app", "--env-file", "nowhere"), 2, "Error: env-file: there is no file "),
        (("main:app", "--reload", "--reload-dir", "nowhere"), 2, "Error: reload-dir: there is no directory nowhere"),
        (("main:app", "--log-file", "nowhere/log"), 2, "/nowhere; make it, or name a file in another one"),
        (("main:app", "--control", "./socket", "--control-group", "no-such-group"), 2, "Error: control-group: "),
        ((), 2, "Error: no application: name it"),
        (("main:other",), 3, "Error: the module 'main' has no attribute 'other'"),
        (("main:app", "--env-file", ".env"), 3, "ValueError: broken"),
        (("main:app", "--log-config", "main.py"), 3, "Error: log-config: main.py configures no logging: "),
    ],
)
def test_what_is_wrong_is_told_with_the_code_that_a_start_ends_with(
    start: Start, words: tuple[str, ...], code: int, message: str
) -> None:
    server = start(*words, "--check-config", "--timeout-exit", "0.2", ready=False)
    assert server.wait() == code
    assert message in server.stderr
    assert server.stdout == ""


def test_what_is_printed_names_flag_variable_and_file(start: Start, tmp_path: Path) -> None:
    (tmp_path / "corehttp.toml").write_text("backlog = 7\n")
    server = start("main:app", "--port", "80", "--print-config", env={"COREHTTP_HOST": "::"}, ready=False)
    assert server.wait() == 0
    told = [line.split() for line in server.stdout.splitlines()]
    for line in (
        ["port", "=", "80", "#", "--port"],
        ["host", "=", '"::"', "#", "COREHTTP_HOST"],
        ["backlog", "=", "7", "#", "corehttp.toml:", "backlog"],
    ):
        assert line in told
