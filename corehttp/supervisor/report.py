"""The supervisor's log lines: one for each thing that matters to an operator, with its cause."""

import logging
from typing import assert_never

from corehttp import farewell, unused_signals
from corehttp.errors import ExitCode
from corehttp.ipc.messages import LeaveReason
from corehttp.supervisor.commands import Asked, Command, Decision, Refusal
from corehttp.supervisor.deadlines import start_at, template_due
from corehttp.supervisor.events import (
    ForceRequested,
    ReloadRequested,
    ReopenRequested,
    Resized,
    RestartRequested,
    StopRequested,
    UpgradeRequested,
)
from corehttp.supervisor.fleet import Fleet, Stop, TemplatePhase, WorkerPhase
from corehttp.supervisor.workers import Member

logger = logging.getLogger("corehttp.supervisor")


class Report:
    """Logs each thing once. It reads the fleet and changes nothing in it.

    `urls` say where clients find the service. All times are in seconds, monotonic; `now` is that of the start.
    """

    def __init__(self, fleet: Fleet, urls: str, now: float) -> None:
        self._fleet = fleet
        self._urls = urls
        self._started = now
        self._blamed: set[int] = set()  # the generations of which a failure to start was logged in full
        self._failures: dict[int, str] = {}  # for each generation its first failure to start, in one line
        self._reload_began = 0.0  # when the last reload was asked for (seconds, monotonic)
        self._answered = 0  # how many requests were answered during the stop
        self._cut = 0  # how many requests and WebSockets were cut during the stop
        self._cannot_start = 0  # the last generation under development of which was said that it cannot start
        self._said: set[str] = set()  # the lines that are logged once

    def command(self, source: str, command: Asked, decision: Decision, now: float) -> None:
        """Say what a command leads to, before that is recorded; `source` is how it came in, as the signal's name."""
        fleet = self._fleet
        match decision:
            case Refusal(reason) if command is Command.REOPEN:
                self._say_once(f"{source}: {reason}")
            case Refusal(reason):
                logger.warning("%s: %s", source, reason)
            case ForceRequested():
                began = "interrupted again" if command is Command.INTERRUPT else source
                logger.warning("%s: all workers are killed", began)
            case StopRequested():
                if fleet.stop is Stop.NO:
                    logger.info("%s", farewell.stopping(source, fleet.limits.shutdown_delay, fleet.limits.graceful))
            case ReloadRequested():
                self._reload_began = now
                logger.info("%s: reloading", source)
            case Resized(size) if size == fleet.size:
                logger.info("%s: %d workers already", source, size)
            case Resized(size):
                logger.info("%s: from %d to %d workers", source, fleet.size, size)
            case RestartRequested(workers):
                numbers = ", ".join(str(fleet.workers[worker].slot + 1) for worker in workers)
                logger.info("%s: replacing worker %s", source, numbers)
            case ReopenRequested():
                logger.info("%s: opening the log files anew", source)
            case UpgradeRequested():
                pass  # `upgrade` says whether a new supervisor could be started
            case _:
                assert_never(decision)

    def unused_signal(self, number: int) -> None:
        """Say once of each signal without a meaning here that it is ignored."""
        self._say_once(unused_signals.told(number))

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            logger.warning("%s", line)

    def all_ready(self, workers: list[int], pid: int, now: float) -> None:
        """Say that all workers serve for the first time; `workers` are their process ids, `pid` is that of this one."""
        size = self._fleet.size
        took = (now - self._started) * 1000
        noun, every = ("worker", "") if size == 1 else ("workers", "all ")
        hints = farewell.what_next(pid)
        logger.info(
            "%s%d %s ready in %.0f ms: %s (%s; %s)",
            every,
            size,
            noun,
            took,
            self._urls,
            farewell.pids(workers),
            hints,
        )

    def account(self, answered: int, cut: int) -> None:
        """Add up how many requests a worker that has ended during the stop had answered and cut since it began."""
        self._answered += answered
        self._cut += cut

    def stopped(self, code: ExitCode, now: float) -> None:
        """Say that everything has ended, and how. After a failed start nothing is said: its cause was logged before."""
        fleet = self._fleet
        if code is ExitCode.CRASH_LOOP:
            logger.error(
                "all workers kept dying for %g s (--crash-loop-timeout): exit code %d", fleet.limits.crash_loop, code
            )
        elif code is not ExitCode.STARTUP:
            took = now - fleet.stop_since
            level = logging.WARNING if self._cut else logging.INFO
            others = "; the new supervisor serves on" if fleet.handed_on else ""
            logger.log(level, "%s%s", farewell.stopped(took, self._answered, self._cut, code), others)

    def blame(self, member: Member, message: str, detail: str) -> None:
        """Say why a worker could not start.

        In a start or a reload all workers fail alike, so only the first failure of a generation is logged.
        """
        self._failures.setdefault(member.generation, f"worker {member.slot + 1} could not start: {message}")
        member.last_words = message
        if member.generation not in self._blamed or (self._fleet.booted and self._fleet.rollout is None):
            self._blamed.add(member.generation)
            logger.error("%s%s", message, f"\n{detail.rstrip()}" if detail else "")

    def blame_template(self, generation: int, message: str, detail: str) -> None:
        """Say why the application could not be loaded before the workers are forked."""
        self._failures.setdefault(generation, message)
        self._blamed.add(generation)
        logger.error("%s%s", message, f"\n{detail.rstrip()}" if detail else "")

    def exit(self, member: Member, phase: WorkerPhase, how: str, in_flight: str) -> None:
        """Say that a worker has ended in this phase, and how; an end that was asked for is logged for debugging alone.

        `in_flight` are the requests that were cut, as `Workers.in_flight` has them.
        """
        fleet = self._fleet
        if phase in (WorkerPhase.DRAINING, WorkerPhase.CLOSING, WorkerPhase.KILLED) or fleet.stop is not Stop.NO:
            logger.debug("%s %s", member, how)
            return
        before = " before it was ready" if phase is WorkerPhase.STARTING else ""
        self._failures.setdefault(member.generation, f"worker {member.slot + 1} {how}{before}")
        if fleet.booted and not member.last_words:
            logger.error("%s %s%s%s", member, how, before, in_flight)
        elif not fleet.booted and member.generation not in self._blamed:
            self._blamed.add(member.generation)
            logger.error("%s %s%s", member, how, before)

    def starts_again(self, index: int, waiting: int, now: float) -> None:
        """Say when a slot whose worker has died gets another one, if it does, and how many clients wait for it.

        Of code under development that cannot start, say once that nothing is started.
        """
        fleet = self._fleet
        slot = fleet.slots[index]
        if fleet.development and fleet.broken and fleet.stop is Stop.NO:
            if self._cannot_start != fleet.latest:
                self._cannot_start = fleet.latest
                logger.warning("the code cannot start: nothing is started until a file changes")
            return
        if fleet.stop is not Stop.NO or not fleet.booted or index >= fleet.size or not slot.failures:
            return
        if fleet.occupants(index) or not slot.open:
            return
        seconds = start_at(fleet, slot) - now
        when = f"in {seconds:.1f} s" if seconds > 0 else "at once"
        who = "others take them" if fleet.accepting() else "whoever is ready first takes them"
        clients = f"; connections that wait for it: {waiting}, {who}" if waiting else ""
        logger.info("worker %d starts again %s%s", index + 1, when, clients)

    def retire_template(self, generation: int, now: float) -> None:
        """Say that a template is ended, if that is because it takes too long to load the application."""
        template = self._fleet.templates[generation]
        if (
            self._fleet.stop is Stop.NO
            and template_due(self._fleet, template) <= now
            and generation not in self._blamed
        ):
            late = f"the application was not loaded after {now - template.since:.0f} s (--timeout-worker-startup)"
            self._failures.setdefault(generation, late)
            self._blamed.add(generation)
            logger.error("%s: its template is killed", late)

    def template_exit(self, generation: int, how: str) -> None:
        """Say that a template has ended, unless it was told to, or has said why it cannot load the application.

        One that ends while everything does is no fault: a service manager may send SIGTERM to all processes at a stop.
        """
        self._failures.setdefault(generation, f"the application's template {how}")
        template = self._fleet.templates.get(generation)
        if template is None or template.phase is TemplatePhase.ENDING:
            logger.debug("the template of generation %d %s", generation, how)
        elif template.phase is TemplatePhase.READY:
            level = logging.ERROR if self._fleet.stop is Stop.NO else logging.DEBUG
            logger.log(level, "the application's template %s", how)
        elif generation not in self._blamed:
            self._blamed.add(generation)
            logger.error("the application's template %s before the application was loaded", how)

    def leave(self, member: Member, why: LeaveReason) -> None:
        """Say that a worker was told to leave."""
        worker = self._fleet.workers[member.worker]
        if why is LeaveReason.REPLACED and worker.retire:
            logger.info("%s is replaced: %s", member, worker.retire)
        else:
            logger.debug("%s leaves: %s", member, why.value)

    def kill(self, member: Member, now: float) -> None:
        """Say that a worker is killed, before that is recorded: it has taken longer than it may, or all are killed."""
        worker = self._fleet.workers[member.worker]
        took = now - worker.since
        if worker.phase is WorkerPhase.STARTING and self._fleet.stop is Stop.NO:
            late = f"was not ready after {took:.0f} s (--timeout-worker-startup)"
            self._failures.setdefault(member.generation, f"worker {member.slot + 1} {late}")
            logger.error("%s %s: it is killed", member, late)
        else:
            logger.warning("%s is killed while %s, after %.1f s", member, worker.phase.value, took)

    def hang(self, member: Member, in_flight: str, now: float) -> None:
        """Say that the event loop of a worker is blocked; `in_flight` is as in `exit`."""
        worker = self._fleet.workers[member.worker]
        silent = now - max(worker.beat, worker.since)
        logger.error(
            "%s: its event loop is blocked for %.1f s (--timeout-worker-healthcheck), it is replaced%s; stacks follow",
            member,
            silent,
            in_flight,
        )

    def failure(self, generation: int) -> str:
        """Why a generation could not take over, in a line."""
        return self._failures.get(generation, "a worker could not be started")

    def reload_abandoned(self, generation: int) -> None:
        """Say that a reload has failed, and why; in development `starts_again` has said so already."""
        if self._fleet.development:
            return
        logger.error("the reload has failed, the old workers serve on: %s", self.failure(generation))

    def reload_finished(self, generation: int, now: float) -> None:
        """Say that a reload is complete."""
        took = now - self._reload_began
        logger.info("reloaded in %.1f s: all workers are of generation %d", took, generation)
