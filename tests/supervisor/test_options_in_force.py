"""What an operator reads of the options: of those in force, and of those that a reload would find."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from corehttp.config import Config, options
from corehttp.errors import ConfigError
from corehttp.supervisor.deployment import Deployment
from corehttp.supervisor.generations import Generations
from corehttp.supervisor.options_in_force import changes, in_force

SECRET = (b"x-key", b"secret")


class Source:
    """A configuration that changes."""

    def __init__(self) -> None:
        self.config = Config(app="main:app", backlog=10, header=(SECRET,))
        self.sources = {"app": "APP", "backlog": "corehttp.toml: backlog", "header": "COREHTTP_HEADER"}
        self.read: Callable[[], Config] = lambda: self.config
        deployment = Deployment()
        self.generations = Generations(
            self.config, lambda: self.read(), deployment, lambda *settings: None, lambda: self.sources
        )

    def reload(self, generation: int) -> None:
        self.generations.assign(generation, self.generations.read(generation - 1))


@pytest.fixture
def source() -> Source:
    return Source()


def test_each_option_has_its_value_and_its_source(source: Source) -> None:
    shown = {str(one["name"]): (one["value"], one["source"]) for one in in_force(source.generations, 1)}
    assert len(shown) == len(options())
    assert shown["app"] == ("main:app", "APP")
    assert shown["backlog"] == (10, "corehttp.toml: backlog")
    assert shown["timeout-keep-alive"] == (75.0, "default")
    assert shown["limit-exempt"] == ([], "default")
    assert shown["header"] == (["x-key"], "COREHTTP_HEADER"), "the value of a field may be a secret"
    assert "secret" not in repr(shown)


def test_what_a_program_gives_has_no_other_source(source: Source) -> None:
    source.sources = {}
    source.reload(2)
    shown = {one["name"]: one["source"] for one in in_force(source.generations, 2)}
    assert (shown["backlog"], shown["port"]) == ("the program", "default")


def test_the_difference_is_that_to_what_would_be_read_now_and_changes_nothing(source: Source) -> None:
    assert changes(source.generations, 1) == []
    source.config = replace(source.config, backlog=20, port=81, header=((b"x-key", b"other"),))
    source.sources = {"app": "APP", "backlog": "--backlog", "port": "--port"}
    assert changes(source.generations, 1) == [
        {"name": "port", "value": 8000, "next": 81, "source": "--port", "needs_restart": True},
        {"name": "backlog", "value": 10, "next": 20, "source": "--backlog", "needs_restart": False},
        {"name": "header", "value": ["x-key"], "next": ["x-key"], "source": "the program", "needs_restart": False},
    ]
    assert source.generations.config(1).backlog == 10
    assert source.generations.sources(1)["backlog"] == "corehttp.toml: backlog"


def test_what_a_reload_cannot_change_keeps_its_source_too(source: Source) -> None:
    source.config = replace(source.config, backlog=20, port=81)
    source.sources = {"app": "APP", "backlog": "--backlog", "port": "--port"}
    source.reload(2)
    assert source.generations.sources(2) == {"app": "APP", "backlog": "--backlog"}
    assert [one["name"] for one in changes(source.generations, 2)] == ["port"]


def test_from_one_address_to_binds_needs_a_restart_and_from_binds_to_others_does_not(source: Source) -> None:
    source.config = replace(source.config, bind=("127.0.0.1:81",))
    assert [(one["name"], one["needs_restart"]) for one in changes(source.generations, 1)] == [("bind", True)]
    generations = Generations(source.config, lambda: source.read(), Deployment(), lambda *settings: None)
    source.config = replace(source.config, bind=("127.0.0.1:82",))
    assert [(one["name"], one["needs_restart"]) for one in changes(generations, 1)] == [("bind", False)]


def test_a_look_ahead_tells_of_missing_files_and_makes_none(source: Source, tmp_path: Path) -> None:
    source.config = replace(source.config, log_file=str(tmp_path / "log"))
    assert [one["name"] for one in changes(source.generations, 1)] == ["log-file"]
    assert list(tmp_path.iterdir()) == []
    source.config = replace(source.config, env_file=str(tmp_path / "env"))
    with pytest.raises(ConfigError, match="env-file: there is no file"):
        changes(source.generations, 1)


def test_a_wrong_configuration_is_told(source: Source) -> None:
    def fail() -> Config:
        raise ConfigError("port: 'x' is not valid")

    source.read = fail
    with pytest.raises(ConfigError, match="port: 'x' is not valid"):
        changes(source.generations, 1)


def test_a_secret_is_not_told_and_a_change_of_it_is() -> None:
    source = Source()
    source.config = replace(source.config, admin="localhost:0", admin_token="sesame-sesame")
    generations = Generations(source.config, lambda: source.read(), Deployment(), lambda *settings: None)
    shown = {str(one["name"]): one["value"] for one in in_force(generations, 1)}
    assert shown["admin-token"] == "secret"
    source.config = replace(source.config, admin_token="open-sesame")
    [change] = changes(generations, 1)
    assert (change["name"], change["value"], change["next"]) == ("admin-token", "secret", "secret")
    assert change["needs_restart"] is True
