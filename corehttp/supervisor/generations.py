"""The configuration that each generation of workers was started with; a reload reads it afresh."""

import contextlib
import dataclasses
import logging
import sys
from collections.abc import Callable, Iterable

from corehttp.config import Config
from corehttp.cpus import available_cpus, count_workers, cpu_quota
from corehttp.errors import ConfigError
from corehttp.ipc.messages import VERSION, Boot
from corehttp.logs import set_up
from corehttp.supervisor.deployment import Deployment, Release
from corehttp.supervisor.fleet import Fleet, FleetLimits, Strategy

logger = logging.getLogger("corehttp.supervisor")

# What only a new supervisor can change.
_FIXED = ("host", "port", "uds", "uds_permissions", "fd", "socket", "preload")


class Generations:
    """`read` gives the configuration as it is now, and raises ConfigError. `set_up` sets up the log lines."""

    def __init__(
        self,
        config: Config,
        read: Callable[[], Config],
        deployment: Deployment,
        set_up: Callable[[str, str, str], object] = set_up,
    ) -> None:
        self._set_up = set_up
        self._configs = {1: config}
        self._read = read
        self._deployment = deployment
        self._found = deployment.release(config.app_dir)  # at the last reading
        self._releases = {1: self._found}
        # Where all workers look for modules, and what they were called with, whatever changes ours meanwhile. What is
        # no text, Python itself passes over.
        self._path = _texts(sys.path)
        self._argv = _texts(sys.argv)

    def read(self, serving: int) -> Config:
        """The configuration for the next generation, while `serving` serves; raises ConfigError."""
        before, config = self._configs[serving], self._read()
        changed = [name for name in _FIXED if getattr(config, name) != getattr(before, name)]
        if changed:
            names = ", ".join(name.replace("_", "-") for name in changed)
            logger.warning("a reload does not change %s: that needs a restart", names)
            config = dataclasses.replace(config, **{name: getattr(before, name) for name in changed})
        self._found = self._deployment.release(config.app_dir)
        return config

    def assign(self, generation: int, config: Config) -> None:
        """From now on this is the configuration of this generation, as it was read last."""
        self._configs[generation] = config
        self._releases[generation] = self._found

    def resized(self, before: int, after: int) -> int | None:
        """How many workers are wanted if generation `after` takes over from `before`; None: as many as there are."""
        spec = self._configs[after].workers
        if spec == self._configs[before].workers:
            return None
        return count_workers(spec, available_cpus(), cpu_quota())[0]

    def apply(self, fleet: Fleet, generation: int) -> None:
        """Let the supervisor itself act by the configuration of a generation; forget those that nobody needs."""
        in_use = {generation, fleet.generation, fleet.wanted, *(w.generation for w in fleet.workers.values())}
        self._configs = {number: config for number, config in self._configs.items() if number in in_use}
        self._releases = {number: release for number, release in self._releases.items() if number in in_use}
        config = self._configs[generation]
        self._set_up(config.log_level, config.log_format, "supervisor")
        fleet.limits = limits(config, self._configs.values())
        fleet.strategy = Strategy(config.reload_strategy)
        fleet.parallel = config.reload_parallel

    def config(self, generation: int) -> Config:
        return self._configs[generation]

    def boot(self, generation: int) -> Boot:
        """Return what every process of a generation is told at its start."""
        release = self._release(generation)
        config = dataclasses.replace(self._configs[generation], app_dir=release.app_dir)
        path = self._deployment.import_path(self._path, release, {sys.prefix, sys.exec_prefix})
        return Boot(VERSION, dataclasses.asdict(config), release.directory, path, self._argv)

    def _release(self, generation: int) -> Release:
        """Where a generation runs; a deployment may have removed that meanwhile."""
        release = self._releases[generation]
        if not release.exists:
            with contextlib.suppress(ConfigError):
                now = self._deployment.release(self._configs[generation].app_dir)
                if now != release:
                    logger.warning("%s is gone: new workers start in %s", release.app_dir, now.app_dir)
                    self._releases[generation] = release = now
        return release

    def title(self, generation: int) -> str:
        """What `ps` shows of such a worker."""
        return str(self._configs[generation].app)


def _texts(values: Iterable[object]) -> list[str]:
    """Those that are text, as plain `str`: a channel carries no subclasses."""
    return [str.__str__(value) for value in values if issubclass(type(value), str)]


def limits(config: Config, in_use: Iterable[Config]) -> FleetLimits:
    """The times that the supervisor keeps, in seconds.

    A worker that leaves keeps its own times, and those of the patient must not be cut short by the configuration of
    their successors.
    """
    everybody = [config, *in_use]
    return FleetLimits(
        graceful=max(one.timeout_graceful_shutdown for one in everybody),
        lifespan=max(one.timeout_lifespan_shutdown for one in everybody),
        exit=max(one.timeout_exit for one in everybody),
        shutdown_delay=config.shutdown_delay,
        startup=config.timeout_worker_startup,
        healthcheck=config.timeout_worker_healthcheck,
        crash_loop=config.crash_loop_timeout,
    )
