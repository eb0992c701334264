"""The command line: its help, its file, and how errors end it. What it serves is for the tests in e2e."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import corehttp
from corehttp.command import command, read_config_file
from corehttp.config import options
from corehttp.errors import ConfigError
from corehttp.option_kinds import FIELDS


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command(), arguments)


def test_the_help_lists_every_option_with_its_default() -> None:
    text = re.sub(r"\s+", " ", run("--help").output)
    for entry in options():
        if entry.name != "app":
            assert f" {entry.flag} " in text
            assert entry.help in text
    assert "[default: 8000]" in text
    assert "[default: 75]" in text
    assert "--supervise / --no-supervise" in text
    assert run("-h").output == run("--help").output


def test_the_version_is_told() -> None:
    result = run("--version")
    assert (result.exit_code, result.output) == (0, f"corehttp {corehttp.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Error: no application: name it as MODULE:ATTRIBUTE, as in main:app\n"),
        (("main:app", "--port", "x"), "Error: --port: 'x' is not valid; it must be a whole number from 0 to 65535\n"),
        (
            ("main:app", "--header", "a:b", "--header", "c"),
            f"Error: --header: ('a:b', 'c') is not valid; it must be {FIELDS.allowed}\n",
        ),
    ],
)
def test_a_wrong_value_ends_with_code_2_and_one_line(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stderr) == (2, message)


def test_an_unknown_flag_and_a_second_application_are_refused() -> None:
    assert run("main:app", "--prot", "1").exit_code == 2
    assert "--port" in run("main:app", "--prot", "1").stderr
    assert run("main:app", "other:app").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("-w", "4"), "There is no option -w: use --workers\n"),
        (("-w4",), "There is no option -w: use --workers\n"),
        (("--bind=:80",), "There is no option --bind: use --host and --port, --uds or --fd\n"),
        (("--reload",), "watchfiles 'corehttp main:app' ."),
        (("--ssl-keyfile", "key"), "There is no option --ssl-keyfile: TLS is for the proxy in front"),
    ],
)
def test_an_option_of_another_server_is_answered_with_ours(arguments: tuple[str, ...], words: str) -> None:
    result = run("main:app", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "--preload" not in result.stderr


def test_without_a_file_nothing_is_configured(tmp_path: Path) -> None:
    assert read_config_file(tmp_path) == ({}, "")


def test_our_own_file_wins_over_pyproject(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.corehttp]\nport = 1\n")
    assert read_config_file(tmp_path) == ({"port": 1}, "pyproject.toml [tool.corehttp]")
    (tmp_path / "corehttp.toml").write_text("port = 2\n")
    assert read_config_file(tmp_path) == ({"port": 2}, "corehttp.toml")


@pytest.mark.parametrize("text", ["", "[tool]\n", "[tool.other]\nport = 1\n", "tool = 5\n"])
def test_a_pyproject_without_our_table_configures_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert read_config_file(tmp_path)[0] == {}


def test_a_table_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool]\ncorehttp = 5\n")
    with pytest.raises(ConfigError, match=r"\[tool.corehttp\] must be a table of options, not 5"):
        read_config_file(tmp_path)


@pytest.mark.parametrize("data", [b"port = \n", b"\xff\xfe", b"a = 1\na = 2\n"])
@pytest.mark.parametrize("name", ["corehttp.toml", "pyproject.toml"])
def test_a_file_that_is_not_toml_is_an_error_that_names_it(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ConfigError, match=f"^{name} cannot be read as TOML: "):
        read_config_file(tmp_path)


def test_the_entry_of_the_command_imports_next_to_nothing() -> None:
    """Until it has run, Ctrl-C is a traceback."""
    script = "import sys; before = set(sys.modules); import corehttp.cli; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    own = {"corehttp", "corehttp.cli", "corehttp.errors", "corehttp.version"}
    assert {name for name in modules if name.startswith("corehttp")} == own
    assert not modules & {"asyncio", "click", "logging", "socket", "tomllib"}
