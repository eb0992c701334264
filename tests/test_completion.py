"""What a shell is told that a line of the command can go on with."""

import os
import subprocess
import sys
import tempfile

import pytest
from click.shell_completion import ShellComplete

from corehttp.completion import VARIABLE, everything
from corehttp.control import socket_path
from corehttp.control.verb_names import OTHER_NAMES, VERBS


def completions(line: str) -> list[str]:
    """The words that may stand in the place of the last one of the line."""
    *words, begun = line.split(" ")
    return [item.value for item in ShellComplete(everything(), {}, "corehttp", VARIABLE).get_completions(words, begun)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("re", ["reload", "reopen", "requests", "restart"]),
        ("main:app re", []),
        ("--port 80 re", []),
        ("--worker", ["--workers", "--worker-max-age", "--worker-max-age-jitter", "--worker-max-rss"]),
        ("main:app --workers 2 --log-f", ["--log-file", "--log-format"]),
        ("main:app --log-format ", ["text", "json"]),
        ("main:app --log-format t", ["text"]),
        ("reload --n", ["--no-wait", "--name"]),
        ("stop --no", ["--now", "--no-wait"]),
        ("scale ", []),
    ],
)
def test_options_verbs_and_choices_are_offered_where_they_can_stand(line: str, words: list[str]) -> None:
    assert completions(line) == words


def test_the_first_word_can_be_any_verb() -> None:
    assert sorted(completions("")) == sorted(VERBS)
    assert set(OTHER_NAMES.values()) <= set(VERBS)


def test_the_names_of_running_services_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="corehttp-", dir="/tmp") as directory:
        os.mkdir(f"{directory}/corehttp", 0o700)
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        monkeypatch.setenv("TMPDIR", directory)
        with socket_path.bind(f"{directory}/corehttp/shop-8000-77.sock", 0o600, None):
            assert completions("status --name ") == ["shop-8000"]
            assert completions("status --name b") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script_and_an_answer(shell: str) -> None:
    def run(**variables: str) -> str:
        env = {**os.environ, **variables}
        command = [sys.executable, "-m", "corehttp"]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    script = run(_COREHTTP_COMPLETE=f"{shell}_source")
    assert f"_COREHTTP_COMPLETE={shell}_complete" in script
    words, current = ("restart", "restart") if shell == "fish" else ("corehttp restart", "1")
    answer = run(_COREHTTP_COMPLETE=f"{shell}_complete", COMP_WORDS=words, COMP_CWORD=current)
    assert "restart" in answer
    assert "reload" not in answer
