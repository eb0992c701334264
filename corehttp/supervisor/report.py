"""The supervisor's log lines: one for each thing that matters to an operator, with its cause."""

import logging
from typing import assert_never

from corehttp import farewell, unused_signals
from corehttp.errors import ExitCode
from corehttp.ipc.messages import LeaveReason
from corehttp.supervisor.commands import Command, Decision, Refusal
from corehttp.supervisor.deadlines import template_due
from corehttp.supervisor.events import ForceRequested, ReloadRequested, Resized, StopRequested, UpgradeRequested
from corehttp.supervisor.fleet import Fleet, Stop, TemplatePhase, WorkerPhase
from corehttp.supervisor.workers import Member

logger = logging.getLogger("corehttp.supervisor")


class Report:
    """Logs each thing once. It reads the fleet and changes nothing in it."""

    def __init__(self, fleet: Fleet, urls: str, now: float) -> None:
        self._fleet = fleet
        self._urls = urls
        self._started = now
        self._blamed: set[int] = set()  # generations of which a failure to start has been told in full
        self._failures: dict[int, str] = {}  # by generation: the first one, in a line
        self._reload_began = 0.0
        self._answered = self._cut = 0  # requests, during the stop
        self._ignored: set[int] = set()  # signals that nobody uses and that were told

    def command(self, source: str, command: Command, decision: Decision, now: float) -> None:
        """Say what a command leads to, before that is recorded; `source` is how it came in, as the signal's name."""
        fleet = self._fleet
        match decision:
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
            case Resized(size):
                logger.info("%s: from %d to %d workers", source, fleet.size, size)
            case UpgradeRequested():
                pass  # `upgrade` says whether a new supervisor could be started
            case _:
                assert_never(decision)

    def unused_signal(self, number: int) -> None:
        """Say once of each signal without a meaning here that it is ignored."""
        if number not in self._ignored:
            self._ignored.add(number)
            logger.warning("%s", unused_signals.told(number))

    def complete(self, workers: list[int], pid: int, now: float) -> None:
        """All workers serve for the first time; `workers` are their processes, `pid` is this one."""
        size = self._fleet.size
        took = (now - self._started) * 1000
        noun, every = ("worker", "") if size == 1 else ("workers", "all ")
        stop = farewell.how_to_stop(pid)
        logger.info(
            "%s%d %s ready in %.0f ms: %s (%s; %s)",
            *(every, size, noun, took, self._urls, farewell.pids(workers), stop),
        )

    def account(self, answered: int, cut: int) -> None:
        """Add up how many requests a worker that has ended during the stop had answered and cut since it began."""
        self._answered += answered
        self._cut += cut

    def stopped(self, code: ExitCode, now: float) -> None:
        """Say that everything has ended, and how; not after a failed start, whose cause was told before."""
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
        """Say why a worker could not start: in full once for each generation, where all workers fail alike."""
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
        """Say when a slot whose worker has died gets another one, if it does, and how many clients wait for it."""
        fleet = self._fleet
        slot = fleet.slots[index]
        if fleet.stop is not Stop.NO or not fleet.booted or index >= fleet.size or not slot.failures:
            return
        if fleet.occupants(index) or not slot.open:
            return
        seconds = slot.retry_at - now
        when = f"in {seconds:.1f} s" if seconds > 0 else "at once"
        who = "others take them" if fleet.takes_in() else "whoever is ready first takes them"
        clients = f"; connections that wait for it: {waiting}, {who}" if waiting else ""
        logger.info("worker %d starts again %s%s", index + 1, when, clients)

    def retire_template(self, generation: int, now: float) -> None:
        """Say so where a template is ended because it takes too long to load the application."""
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
        """Say that a template has ended, unless it was told to, or has said why it cannot load the application."""
        self._failures.setdefault(generation, f"the application's template {how}")
        template = self._fleet.templates.get(generation)
        if template is None or template.phase is TemplatePhase.ENDING:
            logger.debug("the template of generation %d %s", generation, how)
        elif template.phase is TemplatePhase.READY:
            logger.error("the application's template %s", how)
        elif generation not in self._blamed:
            self._blamed.add(generation)
            logger.error("the application's template %s before the application was loaded", how)

    def leave(self, member: Member, why: LeaveReason) -> None:
        worker = self._fleet.workers[member.worker]
        if why is LeaveReason.REPLACED and worker.retire:
            logger.info("%s is replaced: %s", member, worker.retire)
        else:
            logger.debug("%s leaves: %s", member, why.value)

    def kill(self, member: Member, now: float) -> None:
        worker = self._fleet.workers[member.worker]
        took = now - worker.since
        if worker.phase is WorkerPhase.STARTING:
            late = f"was not ready after {took:.0f} s (--timeout-worker-startup)"
            self._failures.setdefault(member.generation, f"worker {member.slot + 1} {late}")
            logger.error("%s %s: it is killed", member, late)
        else:
            logger.warning("%s is killed while %s, after %.1f s", member, worker.phase.value, took)

    def hang(self, member: Member, in_flight: str, now: float) -> None:
        worker = self._fleet.workers[member.worker]
        silent = now - max(worker.beat, worker.since)
        logger.error(
            "%s: its event loop is blocked for %.1f s (--timeout-worker-healthcheck), it is replaced%s; stacks follow",
            *(member, silent, in_flight),
        )

    def reload_abandoned(self, generation: int) -> None:
        why = self._failures.get(generation, "a worker could not be started")
        logger.error("the reload has failed, the old workers serve on: %s", why)

    def reload_finished(self, generation: int, now: float) -> None:
        took = now - self._reload_began
        logger.info("reloaded in %.1f s: all workers are of generation %d", took, generation)
