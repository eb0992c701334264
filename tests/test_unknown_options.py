"""Options that do not exist here: whatever uvicorn and gunicorn have, and most of PM2's, has a true answer."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import gunicorn.config  # type: ignore[import-untyped]
import pytest
import uvicorn

from corehttp.config import names, options
from corehttp.unknown_options import _INSTEAD, instead, suggest

OURS = {"--help", "-h", "--version"} | {
    flag
    for entry in options()
    for flag in ([entry.flag, f"--no-{entry.flag[2:]}"] if entry.kind.is_switch else entry.flags)
}


def flags_of(program: str) -> set[str]:
    """All flags that its help names."""
    text = subprocess.run([sys.executable, "-m", program, "--help"], capture_output=True, text=True, check=True).stdout
    lines = [line for line in text.splitlines() if line.strip().startswith("-")]
    return {flag for line in lines for flag in re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", line)}


@pytest.mark.parametrize("program", ["uvicorn", "gunicorn"])
def test_every_flag_of_another_server_is_ours_or_has_an_answer(program: str) -> None:
    flags = flags_of(program)
    assert len(flags) > 50
    assert {flag for flag in flags - OURS if not instead(flag)} == set()


def test_every_keyword_of_uvicorn_and_every_setting_of_gunicorn_has_one_too() -> None:
    keywords = set(inspect.signature(uvicorn.run).parameters)
    settings = {setting.name for setting in gunicorn.config.KNOWN_SETTINGS}
    assert {name for name in (keywords | settings) - names() if not instead(name)} == set()


def test_every_flag_of_pm2_that_the_readme_names_has_an_answer() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    rows = text[text.index("| **PM2** ") : text.index("What is not there:")].splitlines()
    rows = [row for row in rows if row.startswith("|")]
    flags = {flag for row in rows for flag in re.findall(r"(?<![\w-])--?[a-z][\w-]*", row.split("|")[1])}
    assert {"-i", "--max-memory-restart", "--wait-ready"} <= flags
    assert {flag for flag in flags if not instead(flag)} == set()


def test_answers_name_only_options_that_there_are() -> None:
    named = {flag for text in _INSTEAD.values() for flag in re.findall(r"--[a-z-]*[a-z]", text)}
    assert named <= OURS


def test_no_option_of_ours_is_called_unknown() -> None:
    assert not [entry.flag for entry in options() if instead(entry.flag)]


def test_what_nobody_has_gets_no_answer() -> None:
    for name in ("", "-", "-x", "--nothing", "nothing"):
        assert instead(name) == ""


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("pidfile", "; use PID"),
        ("max_requests", "; use LIMIT_MAX_REQUESTS"),
        ("WORKES", "; did you mean 'WORKERS'?"),
        ("limit-max-request", "; did you mean 'LIMIT_MAX_REQUESTS'?"),
        ("tool", "; in corehttp.toml options stand at the top, in no table; only pyproject.toml has [tool.corehttp]"),
        ("instances", "; use WORKERS"),
        ("max-memory-restart", "; use WORKER_MAX_RSS"),
        ("zzz", ""),
    ],
)
def test_a_suggestion_is_spelt_as_its_place_wants_it(key: str, expected: str) -> None:
    assert suggest(key, names(), str.upper) == expected
