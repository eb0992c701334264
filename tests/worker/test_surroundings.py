"""What an application finds where it is loaded: variables of an environment file, and logging as a file says."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from corehttp.config import Config
from corehttp.errors import ConfigError, StartupError
from corehttp.input_files import check_input_files
from corehttp.worker.surroundings import configure_logging, load_variables, prepare

NAME = "corehttp.tests.surroundings"  # of a logger


@pytest.fixture(autouse=True)
def _everything_put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    root = logging.getLogger()
    level, handlers = root.level, root.handlers.copy()
    disabled = {name: logger.disabled for name, logger in _loggers().items()}
    yield
    root.setLevel(level)
    root.handlers = handlers
    for name, logger in _loggers().items():
        logger.disabled = disabled.get(name, False)
    logging.getLogger(NAME).handlers = []
    logging.getLogger(NAME).setLevel(logging.NOTSET)


def _loggers() -> dict[str, logging.Logger]:
    known = logging.Logger.manager.loggerDict
    return {name: logger for name, logger in known.items() if isinstance(logger, logging.Logger)}


# Environment files.


def test_variables_of_a_file_are_set_unless_they_are_already(tmp_path: Path) -> None:
    os.environ["SET"] = "before"
    path = tmp_path / ".env"
    path.write_text("# a comment\nA_NAME='a value'\nexport OTHER=b\nSET=after\nBOTH=${SET}-${OTHER}\nÄ=ü\n")
    prepare(str(path), None, None)
    assert {name: os.environ[name] for name in ("A_NAME", "OTHER", "SET", "BOTH")} == {
        "A_NAME": "a value",
        "OTHER": "b",
        "SET": "before",
        "BOTH": "before-b",
    }


def test_a_line_that_is_not_understood_is_told_with_its_file(
    tmp_path: Path, error_log: list[logging.LogRecord]
) -> None:
    path = tmp_path / ".env"
    path.write_text("A_NAME=a\nno assignment at all\nOTHER=b\n")
    load_variables(str(path))
    assert os.environ["OTHER"] == "b"
    [message] = [record.getMessage() for record in error_log]
    assert message.startswith(f"env-file {path}: ")
    assert message.endswith("line 2")


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file or directory"), (b"A=\xff", "'utf-8' codec can't decode")]
)
def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / ".env"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StartupError, match=f"^env-file: {path} cannot be read: {reason}"):
        load_variables(str(path))


def test_what_python_dotenv_is_needed_for_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "dotenv", None)
    with pytest.raises(StartupError, match=r"^env-file needs a package: pip install python-dotenv$"):
        load_variables(str(tmp_path / ".env"))


def test_the_directory_for_metrics_is_named(tmp_path: Path) -> None:
    prepare(None, None, str(tmp_path))
    assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(tmp_path)


# Logging.

DICTIONARY = {"version": 1, "disable_existing_loggers": False, "loggers": {NAME: {"level": "ERROR"}}}
INI = f"""
[loggers]
keys = root,one
[handlers]
keys =
[formatters]
keys =
[logger_root]
level = WARNING
handlers =
[logger_one]
level = ERROR
qualname = {NAME}
handlers =
"""
TOML = f'version = 1\ndisable_existing_loggers = false\n[loggers."{NAME}"]\nlevel = "ERROR"\n'
YAML = f"version: 1\ndisable_existing_loggers: false\nloggers:\n  {NAME}:\n    level: ERROR\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("log.json", json.dumps(DICTIONARY)),
        ("log.JSON", json.dumps(DICTIONARY)),
        ("log.toml", TOML),
        ("log.yaml", YAML),
        ("log.yml", YAML),
        ("log.ini", INI),
        ("log.conf", INI),
    ],
)
def test_logging_is_as_the_file_says(tmp_path: Path, name: str, text: str) -> None:
    other = logging.getLogger("corehttp.tests.other")
    path = tmp_path / name
    path.write_text(text)
    prepare(None, str(path), None)
    assert logging.getLogger(NAME).level == logging.ERROR
    assert not other.disabled


def test_a_dictionary_of_a_program_configures_logging_in_the_worker_that_is_told() -> None:
    config = Config.of({"log_config": DICTIONARY})
    in_worker = Config(log_config=config.log_config)
    check_input_files(in_worker, "/nowhere")
    prepare(None, in_worker.log_config, None)
    assert logging.getLogger(NAME).level == logging.ERROR
    with pytest.raises(StartupError, match=r"^log-config: the dictionary configures no logging: ValueError\("):
        configure_logging('{"version": 2}')


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("log.json", "{", r"configures no logging: JSONDecodeError\(.Expecting"),
        ("log.toml", "=", r"configures no logging: TOMLDecodeError\(.Invalid"),
        ("log.yaml", "a: [", r"configures no logging: ParserError\("),
        ("log.ini", "", r"configures no logging: \w+Error\("),
        ("log.json", "[]", "must hold a table"),
        ("log.yaml", "", "must hold a table"),
        ("log.json", "{}", r"configures no logging: ValueError\(.dictionary doesn't specify a version"),
        (
            "log.json",
            '{"version": 1, "loggers": {"a": {"handlers": ["b"]}}}',
            r"configures no logging: ValueError\(.*, since ValueError\(",
        ),
        ("log.yaml", "a: [\nb: c", r"configures no logging: \w+\('while parsing .*line 2, column 5"),
        (
            "log.ini",
            "[other]",
            r"configures no logging: .*needs the sections \[loggers\], \[handlers\], \[formatters\]$",
        ),
        (
            "log.json",
            '{"version": 1, "handlers": {"a": {"class": "logging.FileHandler", "filename": "/nowhere/a"}}}',
            "configures no logging: .*, since FileNotFoundError.*/nowhere/a",
        ),
        ("log.json", '{"version": 1, "formatters": {"a": {"()": "sys.exit"}}}', r"configures no logging: \w+\("),
        ("log.json", None, "cannot be read: No such file or directory"),
        ("log.ini", None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_is_wrong_is_an_error_that_names_it(
    tmp_path: Path, name: str, text: str | None, reason: str
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(StartupError, match=f"^log-config: {path} {reason}"):
        configure_logging(str(path))


def test_what_pyyaml_is_needed_for_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(StartupError, match=r"log.yaml needs a package: pip install PyYAML$"):
        configure_logging(str(tmp_path / "log.yaml"))


# Before a worker is started.


def test_files_that_are_missing_are_an_error_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("")
    check_input_files(Config(env_file=".env"), str(tmp_path))
    check_input_files(Config(log_config=str(tmp_path / ".env")), "/nowhere")
    with pytest.raises(ConfigError, match=f"^env-file: there is no file {tmp_path}/prod.env$"):
        check_input_files(Config(env_file="prod.env"), str(tmp_path))
    with pytest.raises(ConfigError, match=r"^log-config: there is no file /nowhere/.env$"):
        check_input_files(Config(log_config=".env"), "/nowhere")
    for path in (str(tmp_path), os.devnull):
        with pytest.raises(ConfigError, match=f"^env-file: {path} is no regular file"):
            check_input_files(Config(env_file=path), "/nowhere")
