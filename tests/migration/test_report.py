"""What `corehttp migrate` prints: a command for a shell, and comments."""

import re
import subprocess
from itertools import pairwise
from pathlib import Path
from textwrap import dedent

import pytest

from corehttp.migration.flags import MigrationError
from corehttp.migration.report import LARGEST, migrate


@pytest.fixture(autouse=True)
def _in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_command_comes_first_and_the_rest_is_comments() -> None:
    assert migrate(["gunicorn main:app -w 4 -k asgi --daemon --max-requests-jitter 5"]) == (
        "corehttp main:app --workers 4 --limit-max-requests-jitter 5\n"
        "# corehttp will refuse this: limit-max-requests-jitter needs limit-max-requests, to which it is added\n"
        "# has no equal:\n"
        "#   --daemon: it is for what starts corehttp: a service manager, a container, the shell\n"
        "# needs nothing:\n"
        "#   -k asgi: every worker runs an event loop, and a WSGI application in threads"
    )


def test_each_application_of_pm2_is_a_command_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "ecosystem.config.js").write_text(
        "module.exports = {apps: [{name: 'a', script: 'uvicorn main:app'}, {name: 'b', script: 'uvicorn b:app'}]}"
    )
    assert migrate(["ecosystem.config.js"]) == ("# a\ncorehttp main:app --name a\n\n# b\ncorehttp b:app --name b")


def test_pm2_may_be_told_in_json_and_yaml(tmp_path: Path) -> None:
    (tmp_path / "pm2.json").write_text('{"apps": [{"script": "uvicorn main:app"}]}')
    (tmp_path / "pm2.yaml").write_text("apps:\n  - script: uvicorn main:app\n    instances: 2\n")
    assert migrate(["pm2.json"]) == "corehttp main:app"
    assert migrate(["pm2.yaml"]) == "corehttp main:app --workers 2"


def test_nothing_of_a_file_leaves_its_comment(tmp_path: Path) -> None:
    """What is printed can be given to a shell, whatever stands in the file."""
    (tmp_path / "gunicorn.conf.py").write_text(
        'wsgi_app = "main:app; touch made"\nraw_env = ["A=$(touch made)", "B;touch made=1"]\n'
        'proc_name = "x\\ntouch made"\nuser = "x\\ntouch made"\n'
    )
    text = migrate(["gunicorn.conf.py"])
    subprocess.run(["sh", "-c", "corehttp() { :; }\n" + text], check=True, cwd=tmp_path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "name a command of uvicorn or gunicorn"),
        (["main:app"], "name a command of uvicorn or gunicorn"),
        (["gunicorn.conf.py"], r"gunicorn.conf.py cannot be read: No such file"),
        (["nowhere.json"], r"nowhere.json cannot be read: No such file"),
        (["large.js"], f"large.js has more than {LARGEST} bytes"),
        (["wrong.js"], "wrong.js is no ecosystem file of PM2: line 1: "),
        (["empty.json"], "empty.json is no ecosystem file of PM2: it has no list of applications"),
        (["wrong.yml"], "wrong.yml is no ecosystem file of PM2: "),
        (["aliases.yml"], "aliases.yml is no ecosystem file of PM2: its aliases stand for too much"),
        (["circle.yml"], "circle.yml is no ecosystem file of PM2: its aliases stand for too much"),
        (["deep.yml"], "deep.yml is no ecosystem file of PM2: "),
        (["wrong.py"], "wrong.py is not Python: line 2: invalid syntax"),
        (["nul.py"], "nul.py is not Python: "),
        (["wrong.json"], "wrong.json is no ecosystem file of PM2: line 1: "),
        (["gunicorn", "main:app", "-c", "wrong.py"], "wrong.py is not Python: line 2: invalid syntax"),
        (["gunicorn", "-c", "file:nowhere.py"], "nowhere.py cannot be read: there is no such file"),
        (["gunicorn", "-c", "directory.py"], "directory.py cannot be read: Is a directory"),
        (["refused.json"], "wrong.py is not Python: line 2: invalid syntax"),
        (["uvicorn", "main:app", "--what", "-z"], "--what, -z: uvicorn has no such flag"),
        (["gunicorn main:app --what=1"], "--what=1: gunicorn has no such flag"),
    ],
)
def test_what_cannot_be_read_is_an_error(words: list[str], reason: str, tmp_path: Path) -> None:
    (tmp_path / "large.js").write_bytes(b" " * (LARGEST + 1))
    (tmp_path / "wrong.js").write_text("module.exports = {")
    (tmp_path / "empty.json").write_text("{}")
    (tmp_path / "wrong.py").write_text("workers = 2\nworkers = = 2\n")
    (tmp_path / "nul.py").write_bytes(b"workers = 2\n\0")
    (tmp_path / "directory.py").mkdir()
    (tmp_path / "wrong.json").write_text('{"apps": [}')
    (tmp_path / "refused.json").write_text('{"apps": [{"script": "gunicorn", "args": "main:app -c wrong.py"}]}')
    (tmp_path / "wrong.yml").write_text("a: [")
    lists = [f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise("abcdefghi")]
    (tmp_path / "aliases.yml").write_text("a: &a [x]\n" + "".join(lists) + "apps: [{watch: *i}]\n")
    (tmp_path / "circle.yml").write_text("apps: [{watch: &a [*a]}]\n")
    (tmp_path / "deep.yml").write_text("[" * 2000)
    with pytest.raises(MigrationError, match=f"^{re.escape(reason)}" if "." in reason else f"^{reason}"):
        migrate(words)


def test_the_readme_shows_what_is_printed() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    shown = dedent(text[text.index("    $ corehttp migrate gunicorn main:app") :].partition("\n\n")[0])
    command, _, printed = shown.partition("\n")
    assert migrate(command.split()[3:]) == printed


def test_an_unreadable_file_of_one_application_of_pm2_leaves_the_others(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "gunicorn.conf.py").write_text("workers = 3\n")
    (tmp_path / "pm2.json").write_text(
        '{"apps": [{"script": "gunicorn a:app -c nowhere.py --what"}, {"script": "gunicorn b:app", "cwd": "there"}]}'
    )
    text = migrate(["pm2.json"])
    assert "#   -c nowhere.py: it cannot be read" in text
    assert "#   --what: gunicorn has no such flag" in text
    assert "cd there && corehttp b:app --workers 3" in text, "the file is that of the directory of its application"
