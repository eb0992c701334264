"""Wait for an event or the next deadline; observe; plan; perform. No policy here: that is plan.py's."""

import logging
import random
import select
import signal
import time
from typing import assert_never

from corehttp.errors import ExitCode
from corehttp.supervisor import channel as messages
from corehttp.supervisor import processes
from corehttp.supervisor.channel import Channel
from corehttp.supervisor.fleet import (
    Action,
    BecameReady,
    CloseSlot,
    Drained,
    Event,
    Exit,
    Exited,
    Fleet,
    ForceRequested,
    Kill,
    Phase,
    RefuseConnections,
    Refusing,
    SlotClosed,
    Spawn,
    Spawned,
    SpawnFailed,
    Stop,
    StoppedAccepting,
    StopRequested,
    Terminate,
    Told,
    WasKilled,
)
from corehttp.supervisor.plan import next_deadline, observe, plan
from corehttp.supervisor.signals import SignalPipe
from corehttp.supervisor.slots import Slot

logger = logging.getLogger("corehttp.supervisor")


class Supervisor:
    """Keeps a fleet of workers as the plan wants it."""

    def __init__(self, fleet: Fleet, slots: list[Slot], boot: dict[str, object], title: str, url: str) -> None:
        self._fleet = fleet
        self._slots = slots
        self._boot = boot
        self._title = title
        self._url = url
        self._pids: dict[int, int] = {}  # by worker
        self._channels: dict[int, Channel] = {}
        self._spawned = 0
        self._started = time.monotonic()
        self._announced = False
        self._blamed = False  # the first boot's failure has been reported
        self._oom_kills = processes.oom_kills()
        self._poll = select.poll()

    def run(self) -> ExitCode:
        """Supervise until the end; must be called in the main thread."""
        with SignalPipe() as pipe:
            self._poll.register(pipe, select.POLLIN)
            try:
                while True:
                    code = self._act()
                    if code is not None:
                        return code
                    self._wait(pipe)
            finally:
                self._leave_nothing()

    def _act(self) -> ExitCode | None:
        fleet = self._fleet
        while actions := plan(fleet, time.monotonic()):
            for action in actions:
                if isinstance(action, Exit):
                    return action.code
                observe(fleet, self._perform(action), time.monotonic())
        return None

    def _wait(self, pipe: SignalPipe) -> None:
        now = time.monotonic()
        deadline = next_deadline(self._fleet, now)
        timeout = None if deadline == float("inf") else max(0, deadline - now) * 1000 + 1
        by_fd = {channel.fileno(): worker for worker, channel in self._channels.items()}
        for fd, _ in self._poll.poll(timeout):
            if fd in by_fd:
                self._listen(by_fd[fd])
        for number in pipe.read():
            self._on_signal(number)

    # What happens.

    def _on_signal(self, number: int) -> None:
        fleet = self._fleet
        match number:
            case signal.SIGCHLD:
                self._reap()
            case signal.SIGINT if fleet.stop is not Stop.NO:
                logger.warning("interrupted again: all workers are killed")
                self._observe(ForceRequested())
            case signal.SIGTERM | signal.SIGINT:
                if fleet.stop is Stop.NO:
                    name = signal.Signals(number).name
                    logger.info("%s: finishing what is in flight, for at most %g s", name, fleet.limits.graceful)
                self._observe(StopRequested())
            case signal.SIGHUP:
                logger.warning("SIGHUP: ignored; this version cannot reload")
            case _:
                pass

    def _listen(self, worker: int) -> None:
        received, gone = self._channels[worker].receive()
        for kind, *details in received:
            match kind:
                case messages.READY:
                    self._observe(BecameReady(worker))
                    self._announce(worker)
                case messages.CLOSED:
                    self._observe(StoppedAccepting(worker))
                case messages.DRAINED:
                    self._observe(Drained(worker))
                case messages.FAILED:
                    self._blame(worker, *(str(detail) for detail in details))
                case _:
                    raise AssertionError(f"unknown message {kind!r}")
        if gone:
            self._poll.unregister(self._channels[worker])
            self._channels.pop(worker).close()

    def _reap(self) -> None:
        by_pid = {pid: worker for worker, pid in self._pids.items()}
        for pid, code in processes.reap(list(by_pid)):
            worker = by_pid[pid]
            if worker in self._channels:
                self._listen(worker)  # its last words
            self._report_exit(worker, pid, code)
            del self._pids[worker]
            if worker in self._channels:
                self._poll.unregister(self._channels[worker])
                self._channels.pop(worker).close()
            self._observe(Exited(worker, code, random.random()))

    def _observe(self, event: Event) -> None:
        observe(self._fleet, event, time.monotonic())

    # What is done.

    def _perform(self, action: Action) -> Event:
        match action:
            case Spawn(slot, generation):
                return self._spawn(slot, generation)
            case Terminate(worker):
                processes.terminate(self._pids[worker])
                return Told(worker)
            case Kill(worker):
                phase = self._fleet.workers[worker].phase.value
                logger.warning("worker %d (pid %d) is killed while %s", *self._who(worker), phase)
                processes.kill(self._pids[worker])
                return WasKilled(worker)
            case RefuseConnections():
                for place in self._slots:
                    place.refuse_new()
                return Refusing()
            case CloseSlot(slot):
                closing = self._slots[slot]
                # With a shared port the sockets end with the last slot that has them.
                shared = any(other is not closing and other.sockets == closing.sockets for other in self._slots)
                closing.close(last=not shared)
                return SlotClosed(slot)
            case Exit():
                raise AssertionError("Exit is not performed")
            case _:
                assert_never(action)

    def _spawn(self, slot: int, generation: int) -> Event:
        self._spawned += 1
        worker = self._spawned
        boot = {**self._boot, "slot": slot, "generation": generation, "sockets": self._slots[slot].filenos()}
        try:
            pid, channel = processes.spawn(boot, self._slots[slot].filenos(), self._title)
        except OSError as error:
            logger.error("worker %d cannot be started: %s", slot + 1, error)
            return SpawnFailed(slot, random.random())
        self._pids[worker] = pid
        self._channels[worker] = channel
        self._poll.register(channel, select.POLLIN)
        logger.debug("worker %d (pid %d) started", slot + 1, pid)
        return Spawned(worker, slot, generation)

    def _leave_nothing(self) -> None:
        """Whatever happened, no process and no path of ours stays behind."""
        for pid in self._pids.values():
            processes.kill(pid)
        for slot in self._slots:
            slot.refuse_new()
            slot.close(last=True)

    # What is said.

    def _who(self, worker: int) -> tuple[int, int]:
        return self._fleet.workers[worker].slot + 1, self._pids[worker]

    def _announce(self, worker: int) -> None:
        fleet = self._fleet
        if fleet.booted and not self._announced:
            self._announced = True
            took = (time.monotonic() - self._started) * 1000
            noun = "worker" if fleet.size == 1 else "workers"
            every = "" if fleet.size == 1 else "all "
            logger.info("%s%d %s ready in %.0f ms: %s", every, fleet.size, noun, took, self._url)
        elif self._announced:
            logger.info("worker %d (pid %d) is ready", *self._who(worker))

    def _blame(self, worker: int, message: str, detail: str) -> None:
        """Say why a worker could not start: once at the first boot, where all workers fail alike."""
        if not self._fleet.booted and self._blamed:
            return
        self._blamed = True
        logger.error("%s%s", message, f"\n{detail.rstrip()}" if detail else "")

    def _report_exit(self, worker: int, pid: int, code: int) -> None:
        fleet = self._fleet
        known = fleet.workers[worker]
        if known.phase in (Phase.DRAINING, Phase.CLOSING, Phase.KILLED) or fleet.stop is not Stop.NO:
            logger.debug("worker %d (pid %d) %s", known.slot + 1, pid, processes.describe_exit(code))
            return
        oom = False
        if code == -signal.SIGKILL:
            now = processes.oom_kills()
            oom, self._oom_kills = now > self._oom_kills, now
        if fleet.booted:
            logger.error("worker %d (pid %d) %s", known.slot + 1, pid, processes.describe_exit(code, oom))
        elif not self._blamed:
            self._blamed = True
            how = processes.describe_exit(code, oom)
            logger.error("worker %d (pid %d) %s before it was ready", known.slot + 1, pid, how)
