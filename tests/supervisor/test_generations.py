"""The configurations of generations: what a reload changes, what it does not, and which ones are kept."""

from collections.abc import Callable
from pathlib import Path

import pytest

from corehttp.config import Config
from corehttp.errors import ConfigError
from corehttp.supervisor.deployment import Deployment
from corehttp.supervisor.fleet import Fleet, Strategy
from corehttp.supervisor.generations import Generations, limits


def generations(now: Callable[[], Config], **options: object) -> Generations:
    """Those of a service that was started with `options`; a reload reads what `now` returns."""
    config = Config.of({"app": "main:app", **options})
    # The logging is that of the whole process, tests included.
    return Generations(config, now, Deployment(), set_up=lambda *settings: None)


def test_a_reload_does_not_change_where_the_service_listens(caplog: pytest.LogCaptureFixture) -> None:
    kept = generations(lambda: Config(app="main:app", port=9000, backlog=7), port=8000)
    config = kept.read(1)
    assert (config.port, config.backlog) == (8000, 7)
    assert "a reload does not change port: that needs a restart" in caplog.text


def test_a_configuration_that_is_wrong_is_told_and_changes_nothing() -> None:
    def wrong() -> Config:
        raise ConfigError("no such option")

    kept = generations(wrong, backlog=5)
    with pytest.raises(ConfigError, match="no such option"):
        kept.read(1)
    assert kept.config(1).backlog == 5


def test_another_number_of_workers_is_wanted_only_where_the_option_has_changed() -> None:
    kept = generations(Config, workers="2")
    kept.assign(2, Config(app="main:app", workers="2"))
    kept.assign(3, Config(app="main:app", workers="5"))
    assert kept.resized(1, 2) is None
    assert kept.resized(2, 3) == 5


def test_configurations_that_no_worker_needs_are_forgotten() -> None:
    kept = generations(Config)
    fleet = Fleet(1)
    kept.assign(2, Config(app="other:app", reload_strategy="stop-first", reload_parallel=3, log_level="critical"))
    fleet.generation = 2
    kept.apply(fleet, 2)
    assert kept.title(2) == "other:app"
    assert (fleet.strategy, fleet.parallel) == (Strategy("stop-first"), 3)
    with pytest.raises(KeyError):
        kept.config(1)


def test_the_times_of_the_patient_are_not_cut_short_by_their_successors() -> None:
    patient = Config(timeout_graceful_shutdown=60.0, timeout_exit=1.0)
    hasty = Config(timeout_graceful_shutdown=2.0, timeout_exit=9.0)
    found = limits(hasty, [patient, hasty])
    assert (found.graceful, found.exit) == (60.0, 9.0)


def test_a_worker_is_told_where_its_release_is(tmp_path: Path) -> None:
    kept = generations(Config, app_dir=str(tmp_path))
    boot = kept.boot(1)
    assert boot.config["app_dir"] == str(tmp_path)
