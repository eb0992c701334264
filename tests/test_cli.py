"""The command line: its help, its file, and how errors end it. What it serves is for the tests in e2e."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import corehttp
from corehttp.command import command
from corehttp.config import options
from corehttp.errors import ConfigError
from corehttp.option_groups import COMMON, GROUPS
from corehttp.option_kinds import FIELDS
from corehttp.serving import read_config_file
from tests import man_page


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command(), arguments)


def test_the_help_lists_every_option_with_its_default() -> None:
    text = re.sub(r"\s+", " ", run("--help-all").output)
    for entry in options():
        if entry.name != "app":
            assert f" {entry.flag} " in text
            assert entry.help in text
    assert "[default: 8000]" in text
    assert "[default: 75]" in text
    assert "--supervise / --no-supervise" in text


def test_the_short_help_shows_what_most_services_need_and_names_the_other_one() -> None:
    text = run("--help").output
    assert {entry.name for entry in options() if re.search(rf"^  (-\w, )?{entry.flag} ", text, re.MULTILINE)} == COMMON
    assert "corehttp --help-all\n" in text
    assert run("-h").output == text


def test_the_help_begins_with_examples_and_ends_with_all_that_is_no_option() -> None:
    text = run("--help").output
    assert "\n    corehttp main:app --reload " in text
    for flag in ("--help-all", "--check-config", "--print-config", "--version", "-h, --help"):
        assert re.search(rf"^  {flag} ", text, re.MULTILINE), flag


def test_every_option_is_in_one_group_of_the_help() -> None:
    grouped = [name for group in GROUPS.values() for name in group]
    assert sorted(grouped) == sorted(entry.name for entry in options() if entry.name != "app")
    assert set(grouped) > COMMON


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
            f"Error: --header: 'c' is not valid; it must be {FIELDS.allowed}\n",
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
        (("--reload-dirs", "src"), "use --reload-dir"),
        (("--ssl-context-factory", "a:b"), "There is no option --ssl-context-factory: name the files: --ssl-certfile"),
    ],
)
def test_an_option_of_another_server_is_answered_with_ours(arguments: tuple[str, ...], words: str) -> None:
    result = run("main:app", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "--preload" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("relaod", "shop"), "Got unexpected extra argument (shop)\nDid you mean the verb, `corehttp reload`?\n"),
        (("statsu", "--json"), "Did you mean the verb, `corehttp status`?\n"),
        (("run", "main:app"), "(main:app)\nDid you mean `corehttp main:app`, without a verb?\n"),
    ],
)
def test_a_mistyped_verb_with_arguments_is_asked_for(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr.endswith(message)


def test_a_wrong_option_of_an_application_is_no_mistyped_verb(tmp_path: Path) -> None:
    (tmp_path / "blog.py").touch()
    for word in ("blog", "blog:app", "main"):
        assert "verb" not in run(word, "--prot", "1").stderr
    assert "did you mean" not in run("main:app", "relaod").stderr.lower()


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
@pytest.mark.parametrize(("name", "table"), [("corehttp.toml", b""), ("pyproject.toml", b"[tool.corehttp]\n")])
def test_a_file_that_is_not_toml_is_an_error_that_names_it(
    tmp_path: Path, name: str, table: bytes, data: bytes
) -> None:
    (tmp_path / name).write_bytes(table + data)
    with pytest.raises(ConfigError, match=f"^{name} cannot be read as TOML: "):
        read_config_file(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "[ tool . corehttp ]\nport = 1\n",
        '["tool".corehttp]\nport = 1\n',
        "[tool.'corehttp']\nport = 1\n",
        "[tool]\ncorehttp.port = 1\n",
        "tool.corehttp.port = 1\n",
        "tool = {corehttp = {port = 1}}\n",
        "tool.ruff = {}\n\ttool.corehttp = {port = 1}\n",
        '["to\\u006fl".corehttp]\nport = 1\n',
        '[tool."core\\U00000068ttp"]\nport = 1\n',
    ],
)
def test_our_table_is_found_however_it_is_spelled(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert read_config_file(tmp_path)[0] == {"port": 1}


def test_a_table_in_another_encoding_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.corehttp]\nport = 1\n", encoding="utf-16")
    with pytest.raises(ConfigError, match=r"^pyproject\.toml cannot be read as TOML: "):
        read_config_file(tmp_path)


def test_a_pyproject_without_a_trace_of_our_table_is_not_read_as_toml(tmp_path: Path) -> None:
    """That would take 6 ms at each start."""
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nbuild-backend = "setuptools.build_meta"\n[project]\ndependencies = ["corehttp-server"]\n'
        '[project.scripts]\ncorehttp = "corehttp.cli:main"\n[tool.ruff]\n[[tool.uv.index]]\n'
    )
    code = "import sys; from corehttp.serving import read_config_file as read; print(read(sys.argv[1]), *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("({}, '') ")
    assert "tomllib" not in done.stdout.split()


def test_the_entry_of_the_command_imports_next_to_nothing() -> None:
    """Until it has run, Ctrl-C is a traceback."""
    script = "import sys; before = set(sys.modules); import corehttp.cli; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    own = {"corehttp", "corehttp.cli", "corehttp.errors", "corehttp.version"}
    assert {name for name in modules if name.startswith("corehttp")} == own
    assert not modules & {"asyncio", "click", "logging", "socket", "tomllib"}


def test_the_manual_page_has_the_present_options_and_verbs() -> None:
    written = (Path(corehttp.__file__).parents[1] / "docs" / "corehttp.1").read_text()
    assert written == man_page.page(), "run: python -m tests.man_page docs/corehttp.1"
    for word in (r"\fB\-\-timeout\-keep\-alive\fR \fISECONDS\fR", r"\fBtop\fR or \fBmonit\fR", r"\fB130\fR"):
        assert word in written
