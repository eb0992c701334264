"""The configuration that each generation of workers was started with; a reload reads it afresh."""

import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Mapping

from corehttp.config import Config
from corehttp.cpus import available_cpus, count_workers, cpu_quota
from corehttp.errors import ConfigError
from corehttp.input_files import check_input_files
from corehttp.ipc.messages import VERSION, Boot
from corehttp.log_paths import check_log_files, log_paths
from corehttp.logs import set_up
from corehttp.moments import NEVER
from corehttp.records import replaced, values
from corehttp.supervisor.commands import MOST_WORKERS
from corehttp.supervisor.deployment import Deployment, Release
from corehttp.supervisor.fleet import Fleet, FleetLimits, Strategy

logger = logging.getLogger("corehttp.supervisor")

# Options that a reload does not change, since only a new supervisor could.
_FIXED = (
    *("host", "port", "uds", "uds_permissions", "uds_owner", "fd", "socket", "preload"),
    *("name", "pid", "control", "control_group", "admin", "admin_token", "prometheus_multiproc"),
    *("user", "group", "umask", "chdir"),
    *("reload", "reload_dir", "reload_include", "reload_exclude", "reload_delay"),
)


def fixed(before: Config, after: Config) -> tuple[str, ...]:
    """Return the names of the options that keep their values of `before` in a reload that reads `after`.

    --bind is one of them where only one of both has it: the options for one bind give the same sockets another name.
    """
    return _FIXED if bool(before.bind) == bool(after.bind) else ("bind", *_FIXED)


class Generations:
    """The configuration and the release of each generation that is in use.

    `read` returns the configuration as it is now, and raises ConfigError. `set_up` is called with the level, the
    format, the name of the process, the file or None, and whether there are colours, to set up its log lines. `sources`
    returns where each option was given at the last `read`, without those that were not.
    """

    def __init__(
        self,
        config: Config,
        read: Callable[[], Config],
        deployment: Deployment,
        set_up: Callable[[str, str, str, str | None, bool | None], object] = set_up,
        sources: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._set_up = set_up
        self._configs = {1: config}
        self._read = read
        self._deployment = deployment
        self._found = deployment.current_release(config.app_dir)  # the release at the time of the last `read`
        self._releases = {1: self._found}
        self._read_sources = sources
        self._found_sources = dict(sources())  # the sources at the time of the last `read`
        self._sources = {1: self._found_sources}
        # sys.path and sys.argv of all workers: a copy, since this process may change its own. Entries of sys.path that
        # are no text are left out, as the import system ignores them.
        self._path = _texts(sys.path)
        self._argv = _texts(sys.argv)

    def read(self, serving: int) -> Config:
        """Return the configuration for the next generation as it is now, while generation `serving` serves.

        Options that a reload cannot change keep their values, and a warning says so. Raises ConfigError.
        """
        before, config = self._configs[serving], self._read()
        sources = dict(self._read_sources())
        changed = [name for name in fixed(before, config) if getattr(config, name) != getattr(before, name)]
        if changed:
            names = ", ".join(name.replace("_", "-") for name in changed)
            logger.warning("a reload does not change %s: that needs a restart", names)
            config = replaced(config, **{name: getattr(before, name) for name in changed})
            known = self._sources[serving]
            sources = {name: source for name, source in sources.items() if name not in changed}
            sources |= {name: known[name] for name in changed if name in known}
        check_log_files(config)
        check_input_files(config, self._deployment.start)
        self._found_sources = sources
        self._found = self._deployment.current_release(config.app_dir)
        return config

    def assign(self, generation: int, config: Config) -> None:
        """Record that `config`, which `read` has returned last, is the configuration of a generation."""
        self._configs[generation] = config
        self._releases[generation] = self._found
        self._sources[generation] = self._found_sources

    def look_ahead(self) -> tuple[Config, Mapping[str, str]]:
        """Return the configuration as it is now, with its sources, and keep nothing of it. Raises ConfigError."""
        config = self._read()
        check_log_files(config, make=False)
        check_input_files(config, self._deployment.start)
        return config, dict(self._read_sources())

    def sources(self, generation: int) -> Mapping[str, str]:
        """Return where each option of a generation was given, without those that were not."""
        return self._sources[generation]

    def resized(self, before: int, after: int) -> int | None:
        """Return how many workers are wanted if generation `after` takes over from `before`.

        None if both have the same option for that: then an operator's wish for more or fewer is kept.
        """
        spec = self._configs[after].workers
        if spec == self._configs[before].workers:
            return None
        return count_workers(spec, available_cpus(), cpu_quota())[0]

    def apply(self, fleet: Fleet, generation: int) -> None:
        """Let the supervisor itself act by the configuration of a generation, and forget those that are not in use."""
        in_use = {generation, fleet.generation, fleet.wanted_generation}
        in_use.update(worker.generation for worker in fleet.workers.values())
        self._configs = {number: config for number, config in self._configs.items() if number in in_use}
        self._releases = {number: release for number, release in self._releases.items() if number in in_use}
        self._sources = {number: sources for number, sources in self._sources.items() if number in in_use}
        config = self._configs[generation]
        self._set_up(config.log_level, config.log_format, "supervisor", config.log_file, config.use_colors)
        fleet.has_log_files = bool(log_paths(config))
        fleet.limits = limits(config, self._configs.values())
        fleet.development = config.reload
        fleet.strategy = Strategy.STOP_FIRST if config.reload else Strategy(config.reload_strategy)
        fleet.parallel = MOST_WORKERS if config.reload else config.reload_parallel

    def config(self, generation: int) -> Config:
        """The configuration of a generation that is in use."""
        return self._configs[generation]

    def boot(self, generation: int) -> Boot:
        """Return the boot message for processes of a generation, without a seat."""
        release = self._release(generation)
        config = replaced(self._configs[generation], app_dir=release.app_dir)
        path = self._deployment.import_path(self._path, release, {sys.prefix, sys.exec_prefix})
        return Boot(VERSION, values(config), release.directory, path, self._argv)

    def _release(self, generation: int) -> Release:
        """Return where a generation runs: the release that is there now if a deployment has removed its own."""
        release = self._releases[generation]
        if not release.exists:
            with contextlib.suppress(ConfigError):
                now = self._deployment.current_release(self._configs[generation].app_dir)
                if now != release:
                    logger.warning("%s is gone: new workers start in %s", release.app_dir, now.app_dir)
                    self._releases[generation] = release = now
        return release

    def title(self, generation: int) -> str:
        """What `ps` shows for a worker of a generation."""
        return str(self._configs[generation].app)


def _texts(values: Iterable[object]) -> list[str]:
    """Return the values that are text, each as a plain `str`, since a channel carries no subclasses."""
    return [str.__str__(value) for value in values if issubclass(type(value), str)]


def limits(config: Config, in_use: Iterable[Config]) -> FleetLimits:
    """Return the limits that the supervisor keeps by `config`, while workers of the configurations `in_use` run.

    Those for a worker that leaves are the longest of all: each worker keeps its own, and the configuration of its
    successor must not cut them short.
    """
    all_configs = [config, *in_use]
    return FleetLimits(
        graceful=max(each.timeout_graceful_shutdown for each in all_configs),
        graceful_replaced=max(each.graceful_replaced for each in all_configs),
        lifespan=max(each.timeout_lifespan_shutdown for each in all_configs),
        exit=max(each.timeout_exit for each in all_configs),
        shutdown_delay=config.shutdown_delay,
        startup=config.timeout_worker_startup,
        # In development a debugger may block an event loop for any time, and code may fail until it is mended.
        healthcheck=NEVER if config.reload else config.timeout_worker_healthcheck,
        rescue_after=config.rescue_after,
        crash_loop=0.0 if config.reload else config.crash_loop_timeout,
    )
