"""Ecosystem files of PM2 as commands."""

from typing import Any

import pytest

from corehttp.migration.ecosystem import translate_ecosystem
from corehttp.migration.javascript import Expression
from corehttp.migration.translation import Translation


def nothing(path: str) -> None:
    """Read no file."""


def translated(**fields: Any) -> Translation:
    (translation,) = translate_ecosystem({"apps": [fields]}, nothing, "/srv")
    return translation


@pytest.mark.parametrize(
    ("fields", "command"),
    [
        ({"script": "uvicorn", "args": "main:app --port 80"}, "corehttp main:app --port 80"),
        ({"script": "/venv/bin/gunicorn", "args": ["main:app", "-w", 2]}, "corehttp main:app --workers 2"),
        ({"script": "python", "args": "-m uvicorn main:app"}, "corehttp main:app"),
        ({"script": "uvicorn main:app --port 80", "instances": "max"}, "corehttp main:app --port 80 --workers auto"),
        ({"script": "uvicorn main:app", "instances": 0}, "corehttp main:app --workers auto"),
        ({"script": "uvicorn main:app", "instances": "-1"}, "corehttp main:app --workers auto-1"),
        ({"script": "uvicorn main:app", "cwd": "/srv/a b"}, "cd '/srv/a b' && corehttp main:app"),
        (
            {"script": "uvicorn main:app", "env": {"A": 1, "B": True, "C": "d e"}},
            "A=1 B=true C='d e' corehttp main:app",
        ),
        (
            {
                "script": "uvicorn main:app",
                "max_memory_restart": "300M",
                "kill_timeout": 5500,
                "listen_timeout": "9000",
            },
            "corehttp main:app --worker-max-rss 300M --timeout-graceful-shutdown 5.5 --timeout-worker-startup 9",
        ),
        ({"script": "uvicorn main:app", "name": "shop"}, "corehttp main:app --name shop"),
        (
            {"script": "uvicorn main:app", "out_file": "logs/out.log", "error_file": "logs/error.log"},
            "corehttp main:app --log-file logs/error.log --access-log-file logs/out.log",
        ),
        ({"script": "uvicorn main:app", "out_file": "/dev/null"}, "corehttp main:app --no-access-log"),
        ({"script": "uvicorn main:app", "merge_logs": True, "time": True}, "corehttp main:app"),
        (
            {"script": "uvicorn", "args": ["main:app", "--port", Expression("process.env.PORT || 8000")]},
            'corehttp main:app --port "${PORT:-8000}"',
        ),
        (
            {"script": "uvicorn", "args": ["main:app", "--port", Expression("process.env.PORT ?? '80'")]},
            'corehttp main:app --port "${PORT:-80}"',
        ),
        (
            {"script": "uvicorn", "args": ["main:app", "--host", Expression("process.env.HOST")]},
            'corehttp main:app --host "${HOST}"',
        ),
        ({"script": "uvicorn main:app", "cwd": Expression("__dirname")}, "cd /srv && corehttp main:app"),
        (
            {"script": "uvicorn main:app", "cwd": Expression("path.join(__dirname, './a b', \"c\")")},
            "cd '/srv/a b/c' && corehttp main:app",
        ),
        (
            {"script": "uvicorn main:app", "exec_mode": "fork", "interpreter": "none", "watch": False},
            "corehttp main:app",
        ),
        ({"script": "app.py", "interpreter": "python3", "instances": 2}, "corehttp MODULE:ATTRIBUTE --workers 2"),
        ({}, "corehttp MODULE:ATTRIBUTE"),
    ],
)
def test_an_application_becomes_a_command(fields: dict[str, Any], command: str) -> None:
    translation = translated(**fields)
    assert translation.command() == command
    assert translation.missing == []


@pytest.mark.parametrize(
    ("fields", "missing"),
    [
        (
            {"cron_restart": "0 3 * * *"},
            "cron_restart: 0 3 * * *: use --worker-max-age, for an age instead of a time of day",
        ),
        (
            {"log_file": "/a"},
            "log_file: /a: use --log-file for the server's lines, --access-log-file for those of requests",
        ),
        ({"cwd": Expression("find()")}, "cwd: only PM2 knows its value (find())"),
        ({"args": Expression("find()")}, "args: only PM2 knows its value (find())"),
        ({"args": ["--reload", Expression("find()")]}, "args: only PM2 knows its value (find())"),
        ({"something": 1}, "something: 1: there is nothing like it"),
        ({"env_production": {"A": 1}}, "env_production: give the variables to what starts corehttp there"),
        ({"instances": Expression("os.cpus().length")}, "instances: only PM2 knows its value (os.cpus().length)"),
        ({"env": {"A": Expression("x")}}, "env A: only PM2 knows its value (x)"),
        ({"env": {"A B": 1}}, "'A B': a shell has no variables of that name"),
        ({"kill_timeout": "soon"}, "kill_timeout: soon: it is not understood"),
        ({"instances": 2, "args": "--workers 4"}, "instances: 2: the command has 4 workers itself"),
    ],
)
def test_what_has_no_equal_is_told(fields: dict[str, Any], missing: str) -> None:
    assert translated(script="uvicorn main:app", **fields).missing == [missing]


@pytest.mark.parametrize("content", [None, 1, "x", {}, {"apps": []}, {"apps": 1}, []])
def test_a_file_without_applications_is_an_error(content: object) -> None:
    with pytest.raises(ValueError, match="no list of applications"):
        translate_ecosystem(content, nothing)


def test_one_application_may_stand_without_a_list() -> None:
    assert len(translate_ecosystem({"apps": {"script": "uvicorn main:app"}}, nothing)) == 1
    assert len(translate_ecosystem([{"script": "a"}, {"script": "b"}, "c"], nothing)) == 2


def test_in_the_current_directory_that_of_the_file_needs_no_change_of_it() -> None:
    (translation,) = translate_ecosystem([{"script": "uvicorn a:b", "cwd": Expression("__dirname")}], nothing)
    assert translation.command() == "corehttp a:b"


def test_directories_of_log_files_are_told_to_be_needed() -> None:
    told = "PM2 makes the directories of log files; corehttp needs them to be there"
    assert translated(script="uvicorn a:b", out_file="logs/a").notes == [told]
    assert translated(script="uvicorn a:b", out_file="a").notes == []
