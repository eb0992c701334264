"""The configuration that each generation of workers was started with; a reload reads it afresh."""

import dataclasses
import logging
import sys
from collections.abc import Callable

from corehttp.config import Config
from corehttp.cpus import available_cpus, count_workers, cpu_quota
from corehttp.logs import set_up
from corehttp.supervisor.fleet import Fleet, Limits, Strategy

logger = logging.getLogger("corehttp.supervisor")

# What only a new supervisor can change.
_FIXED = ("host", "port", "uds", "fd", "socket", "preload")


class Generations:
    """`read` gives the configuration as it is now, and raises ConfigError."""

    def __init__(self, config: Config, read: Callable[[], Config]) -> None:
        self._configs = {1: config}
        self._read = read
        self._newest = self._next = config
        # The working directory may have another meaning for a worker that is started later.
        self._path = list(sys.path)

    def read_next(self) -> int | None:
        """Read the configuration for the next generation, to be assigned its number.

        Answers the wanted number of workers if that option has changed. Raises ConfigError.
        """
        before, config = self._newest, self._read()
        changed = [name for name in _FIXED if getattr(config, name) != getattr(before, name)]
        if changed:
            names = ", ".join(name.replace("_", "-") for name in changed)
            logger.warning("a reload does not change %s: that needs a restart", names)
            config = dataclasses.replace(config, **{name: getattr(before, name) for name in changed})
        self._next = config
        if config.workers == before.workers:
            return None
        return count_workers(config.workers, available_cpus(), cpu_quota())[0]

    def assign(self, generation: int) -> None:
        """What was read last is the configuration of this generation."""
        self._configs[generation] = self._newest = self._next

    def apply(self, fleet: Fleet, generation: int) -> None:
        """Let the supervisor itself act by the configuration of a generation; older ones are still known."""
        config = self._configs[generation]
        self._newest = config
        set_up(config.log_level, config.log_format, "supervisor")
        fleet.limits = limits(config)
        fleet.strategy = Strategy(config.reload_strategy)
        fleet.parallel = config.reload_parallel

    def config(self, generation: int) -> Config:
        return self._configs[generation]

    def boot(self, generation: int) -> dict[str, object]:
        """What every worker of a generation is told at its start."""
        config = dataclasses.asdict(self._configs[generation])
        return {"config": config, "path": self._path, "generation": generation}

    def title(self, generation: int) -> str:
        """What `ps` shows of such a worker."""
        return str(self._configs[generation].app)


def limits(config: Config) -> Limits:
    """The times that the supervisor keeps, in seconds."""
    return Limits(
        graceful=config.timeout_graceful_shutdown,
        lifespan=config.timeout_lifespan_shutdown,
        startup=config.timeout_worker_startup,
        healthcheck=config.timeout_worker_healthcheck,
        shutdown_delay=config.shutdown_delay,
        crash_loop=config.crash_loop_timeout,
    )
