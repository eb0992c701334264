"""Carry out what an operator asks for, whichever way it comes in."""

import logging
from collections.abc import Callable
from typing import assert_never

from corehttp.errors import ConfigError, StartupError
from corehttp.shortage import shortage
from corehttp.sockets.endpoint import address_options
from corehttp.supervisor.commands import Asked, Command, Decision, Refusal, decide
from corehttp.supervisor.events import (
    ForceRequested,
    ReloadRequested,
    ReopenRequested,
    Resized,
    RestartRequested,
    StopRequested,
    UpgradeRequested,
    UpgradeStarted,
)
from corehttp.supervisor.hearing import Hearing
from corehttp.supervisor.service import Service

logger = logging.getLogger("corehttp.supervisor")


class Orders:
    """Carries out the commands that `commands.decide` accepts."""

    def __init__(self, service: Service, hearing: Hearing) -> None:
        self._service = service
        self._hearing = hearing
        self.before_reload: Callable[[], None] = lambda: None  # is called when a reload is asked for, before it begins

    def obey(self, command: Asked, source: str) -> Decision:
        """Do what a command asks for, and return what has come of it: a Refusal if nothing has.

        The outcome is logged. `source` says in log lines how the command came in: for a signal it is its name. Nothing
        is waited for: a reload or an upgrade has begun when this returns, and may still fail.
        """
        service = self._service
        if command is Command.RELOAD:
            self.before_reload()
        decision = decide(service.fleet, command)
        service.report.command(source, command, decision, service.world.now())
        match decision:
            case Refusal():
                return decision
            case ReloadRequested():
                return self._reload()
            case UpgradeRequested():
                return self._upgrade(source)
            case ReopenRequested():
                service.log_files.reopen()
            case StopRequested():
                service.observe(decision)
                service.upgrade.call_off()
            case ForceRequested() | Resized() | RestartRequested():
                service.observe(decision)
            case _:
                assert_never(decision)
        return decision

    def _reload(self) -> ReloadRequested | Refusal:
        """Read the configuration afresh, and begin to replace the workers; if it is wrong, nothing changes."""
        fleet, generations = self._service.fleet, self._service.generations
        serving = fleet.generation
        try:
            config = generations.read(serving)
            self._service.binds.begin(config)
        except (ConfigError, StartupError, OSError) as error:
            cause = shortage(error) if isinstance(error, OSError) else str(error)
            reason = f"the reload has failed, the old workers serve on: {cause}"
            logger.error("%s", reason)
            self._service.history.reload_refused(cause, self._service.world.wall_clock())
            return Refusal(reason)
        self._service.observe(ReloadRequested())
        self._service.history.reload_began(fleet.latest, self._service.world.wall_clock())
        generations.assign(fleet.latest, config)
        if fleet.generation != serving:  # no worker serves yet, so the new generation takes the place of the first one
            self._service.resize_for(serving, fleet.generation)
            self._service.binds.finish(self._service.world.now())
            self._service.tie_addresses(fleet.generation)
        generations.apply(fleet, fleet.latest)
        return ReloadRequested()

    def _upgrade(self, source: str) -> UpgradeRequested | Refusal:
        """Start a new supervisor, and listen for its answer."""
        service = self._service
        service.binds.close_removed()
        service.upgrade.address = address_options(service.generations.config(service.fleet.generation))
        try:
            pid = service.upgrade.start(service.slots)
        except OSError as error:
            reason = f"a new supervisor cannot be started: {shortage(error)}"
            logger.error("%s: %s", source, reason)
            return Refusal(reason)
        logger.info("%s: a new supervisor (pid %d) is starting", source, pid)
        service.observe(UpgradeStarted(pid))
        self._hearing.attend_successor(pid)
        return UpgradeRequested()
