"""The upgrade in place (SIGUSR2): a new supervisor takes over the sockets of this one, which then leaves."""

import contextlib
import logging
import os
import sys
from dataclasses import replace
from enum import Enum

from corehttp.shortage import shortage
from corehttp.supervisor import inheritance, leftovers, processes
from corehttp.supervisor.deployment import Deployment
from corehttp.supervisor.inheritance import Inheritance
from corehttp.supervisor.world import Processes, SlotSockets

logger = logging.getLogger("corehttp.supervisor")


class Answer(Enum):
    """What a new supervisor says to the one that has started it, in one byte; its end without a byte is a failure."""

    TAKEN_OVER = b"+"  # all its workers are ready, on the old one's sockets
    ELSEWHERE = b"-"  # the same, on sockets of its own
    FAILED = b""


_ANSWERS = {answer.value for answer in Answer}


def inherited(address: tuple[object, ...]) -> Inheritance | None:
    """What this process inherits from the supervisor that has started it; None if no supervisor has.

    It holds no slots if that supervisor serves on another `address`. Whether that one is still alive does not
    matter: its sockets belong to this process as well.
    """
    leftovers.inherit()
    text = os.environ.pop(inheritance.VARIABLE, None)
    if text is None:
        return None
    left = inheritance.read(text)
    if left is None:
        logger.warning("%s in the environment is ignored: it is not for this process", inheritance.VARIABLE)
        return None
    os.set_inheritable(left.ready, False)
    if left.slots and left.address != address:
        logger.warning("the address has changed: the sockets of the old supervisor are not taken over")
        for fd in left.sockets:
            os.close(fd)
        return replace(left, slots=())
    return left


def say_ready(fd: int, *, taken_over: bool) -> None:
    """Tell the old supervisor over its pipe `fd` that it can leave, and whether its sockets were taken over."""
    answer = Answer.TAKEN_OVER if taken_over else Answer.ELSEWHERE
    with contextlib.suppress(OSError):
        os.write(fd, answer.value)
    os.close(fd)


class Upgrade:
    """Starts a new supervisor with this one's command, as it is now installed and configured, and hears its answer."""

    def __init__(self, address: tuple[object, ...], deployment: Deployment, processes: Processes = processes) -> None:
        self._processes = processes
        self._address = address
        self._deployment = deployment
        self._pid = 0
        self._reader = -1
        self._called_off = False
        self._successor = 0

    def start(self, slots: SlotSockets) -> int | None:
        """Start a new supervisor; returns the descriptor on which its answer arrives, None if it cannot be started."""
        if self._pid:
            logger.warning("SIGUSR2: ignored, a new supervisor (pid %d) is starting already", self._pid)
            return None
        if os.getpid() == 1:
            logger.warning("SIGUSR2: ignored, process 1 cannot be replaced; replace the container instead")
            return None
        try:
            reader, writer = os.pipe()
        except OSError as error:
            logger.error("SIGUSR2: a new supervisor cannot be started: %s", shortage(error))
            return None
        left = slots.bequeath(writer, self._address)
        environment = {**os.environ, **leftovers.bequeath(), inheritance.VARIABLE: inheritance.write(left)}
        argv = [sys.executable, *sys.orig_argv[1:]]
        try:
            with self._deployment.entered():
                self._pid = self._processes.start(argv, environment, [*left.sockets, writer])
        except OSError as error:
            logger.error("SIGUSR2: a new supervisor cannot be started: %s", shortage(error))
            os.close(reader)
            return None
        finally:
            os.close(writer)
        logger.info("SIGUSR2: a new supervisor (pid %d) is starting", self._pid)
        self._reader = reader
        return reader

    def fileno(self) -> int:
        return self._reader

    def answer(self) -> Answer:
        """Read the answer, once the descriptor of `start` is readable, and close that descriptor."""
        said = os.read(self._reader, 1)
        answer = Answer(said) if said in _ANSWERS else Answer.FAILED
        if answer is not Answer.FAILED:
            logger.info("the new supervisor (pid %d) is ready: leaving the service to it", self._pid)
            self._successor, self._pid = self._pid, 0  # it is not this process's to end any more
        elif not self._called_off:
            logger.error("the new supervisor (pid %d) has failed: this one serves on", self._pid)
            if self._pid:
                self._processes.kill(self._pid)  # it is about to end anyway, or what it has said makes no sense
        os.close(self._reader)
        self._reader = -1
        return answer

    @property
    def outlived(self) -> bool:
        """Whether a new supervisor has taken over and has ended since."""
        return bool(self._successor) and not leftovers.runs(self._successor)

    def pids(self) -> list[int]:
        """The pid of the new supervisor while it is a child of this process; empty if there is none."""
        return [self._pid] if self._pid else []

    def ended(self) -> None:
        """Record that the new supervisor has ended before it took over."""
        self._pid = 0

    def call_off(self) -> None:
        """End the new supervisor because this one ends, unless the new one has taken over."""
        if self._pid:
            self._called_off = True
            self._processes.terminate(self._pid)
