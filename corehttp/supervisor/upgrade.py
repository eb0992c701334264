"""A new supervisor takes the place of this one, with the same sockets: the program's upgrade in place (SIGUSR2)."""

import contextlib
import logging
import os
import sys
from dataclasses import replace
from enum import Enum

from corehttp.shortage import shortage
from corehttp.supervisor import inheritance, leftovers, processes
from corehttp.supervisor.deployment import Deployment
from corehttp.supervisor.inheritance import Estate
from corehttp.supervisor.world import Processes, SlotSockets

logger = logging.getLogger("corehttp.supervisor")


class Answer(Enum):
    """What the new supervisor says."""

    TAKEN_OVER = b"+"  # all its workers are ready, on the old one's sockets
    ELSEWHERE = b"-"  # the same, on sockets of its own
    FAILED = b""


_ANSWERS = {answer.value for answer in Answer}


def inherited(address: tuple[object, ...]) -> Estate | None:
    """What we inherit from the supervisor that has started us; None if nobody has.

    It holds no slots if that one serves on another `address` than we are to. It does not matter whether that one lives
    any more: the sockets are ours as well.
    """
    leftovers.inherit()
    text = os.environ.pop(inheritance.VARIABLE, None)
    if text is None:
        return None
    estate = inheritance.read(text)
    if estate is None:
        logger.warning("%s in the environment is ignored: it is not for this process", inheritance.VARIABLE)
        return None
    os.set_inheritable(estate.ready, False)
    if estate.slots and estate.address != address:
        logger.warning("the address has changed: the sockets of the old supervisor are not taken over")
        for fd in estate.sockets:
            os.close(fd)
        return replace(estate, slots=())
    return estate


def say_ready(fd: int, *, taken_over: bool) -> None:
    """Tell the old supervisor that it can go, and whether its sockets and connections are ours."""
    answer = Answer.TAKEN_OVER if taken_over else Answer.ELSEWHERE
    with contextlib.suppress(OSError):
        os.write(fd, answer.value)
    os.close(fd)


class Upgrade:
    """The start of a new supervisor: the same command once more, as it is now installed and configured."""

    def __init__(self, address: tuple[object, ...], deployment: Deployment, processes: Processes = processes) -> None:
        self._processes = processes
        self._address = address
        self._deployment = deployment
        self._pid = 0
        self._reader = -1
        self._called_off = False
        self._successor = 0

    def start(self, slots: SlotSockets) -> int | None:
        """Start it; answers the descriptor over which it will answer, None if it cannot be started."""
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
        estate = slots.bequeath(writer, self._address)
        environment = {**os.environ, **leftovers.bequeath(), inheritance.VARIABLE: inheritance.write(estate)}
        argv = [sys.executable, *sys.orig_argv[1:]]
        try:
            with self._deployment.entered():
                self._pid = self._processes.start(argv, environment, [*estate.sockets, writer])
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
        """To be asked when there is one."""
        said = os.read(self._reader, 1)
        answer = Answer(said) if said in _ANSWERS else Answer.FAILED
        if answer is not Answer.FAILED:
            logger.info("the new supervisor (pid %d) is ready: leaving the service to it", self._pid)
            self._successor, self._pid = self._pid, 0  # it is nobody's child any more
        elif not self._called_off:
            logger.error("the new supervisor (pid %d) has failed: this one serves on", self._pid)
            if self._pid:
                self._processes.kill(self._pid)  # it is about to end anyway, or what it has said makes no sense
        os.close(self._reader)
        self._reader = -1
        return answer

    @property
    def outlived(self) -> bool:
        """Whether the new supervisor that took our place has ended before us."""
        return bool(self._successor) and not leftovers.runs(self._successor)

    def pids(self) -> list[int]:
        return [self._pid] if self._pid else []

    def ended(self) -> None:
        """Record that the new supervisor has ended before it took over."""
        self._pid = 0

    def call_off(self) -> None:
        """We are to end: so is it, unless it has taken over."""
        if self._pid:
            self._called_off = True
            self._processes.terminate(self._pid)
