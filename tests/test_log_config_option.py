"""What `--log-config` takes: a path or a dictionary."""

import sys
from typing import Any

import pytest

from corehttp.config import Config
from corehttp.errors import ConfigError
from corehttp.log_config_option import path_of
from corehttp.option_values import shown_value

HANDLER = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
DICTIONARY: dict[str, Any] = {"version": 1, "handlers": {"default": HANDLER}, "filters": None}
ENDLESS: dict[str, Any] = {}
ENDLESS["more"] = ENDLESS


def test_a_dictionary_is_kept_as_text_which_means_the_same_in_each_process() -> None:
    text = Config.of({"log_config": DICTIONARY}).log_config
    assert text == (
        '{"version": 1, "handlers": {"default": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}}, '
        '"filters": null}'
    )
    assert Config(log_config=text).log_config == text
    assert Config.from_sources({"log_config": text}, {}, {}).log_config == text
    assert Config.from_sources({}, {}, {"log_config": DICTIONARY}, "corehttp.toml").log_config == text
    assert path_of(text) is None


def test_a_path_is_no_dictionary() -> None:
    for path in ("log.ini", "{shop}/log.ini", "log-{"):
        assert path_of(Config(log_config=path).log_config) == path
    assert path_of(None) is None


def test_a_dictionary_is_not_shown_for_it_may_hold_a_secret() -> None:
    assert shown_value(Config.of({"log_config": DICTIONARY}), "log_config") == "a dictionary"
    assert shown_value(Config(log_config="log.ini"), "log_config") == "log.ini"


@pytest.mark.parametrize(
    "wrong",
    [{"stream": sys.stdout}, {"()": dict}, {"level": float("nan")}, {"a": "b" * 65_536}, ENDLESS, "{a}", ["a"], 5],
    ids=["stream", "class", "nan", "long", "endless", "no JSON", "list", "number"],
)
def test_what_cannot_go_to_a_worker_is_an_error_that_says_what_can(wrong: object) -> None:
    with pytest.raises(
        ConfigError, match=r"^log_config: .* is not valid; it must be a path, or a dictionary for logging"
    ):
        Config.of({"log_config": wrong})
