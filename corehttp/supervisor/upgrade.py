"""A new supervisor takes the place of this one, with the same sockets: the program's upgrade in place (SIGUSR2)."""

import contextlib
import logging
import marshal
import os
import sys
from enum import Enum

from corehttp.asgi import Unchecked
from corehttp.supervisor import processes
from corehttp.supervisor.slots import Slots

logger = logging.getLogger("corehttp.supervisor")

ESTATE = "COREHTTP_ESTATE"  # in the environment of the new one: what it inherits


class Answer(Enum):
    """What the new supervisor says."""

    TAKEN_OVER = b"+"  # all its workers are ready, on the old one's sockets
    ELSEWHERE = b"-"  # the same, on sockets of its own
    FAILED = b""


def inherited(address: object) -> tuple[dict[str, Unchecked], int] | None:
    """What we inherit from the supervisor that has started us, and the descriptor to say that we are ready.

    None if nobody has. It holds no slots if that one serves on another `address` than we are to.
    """
    text = os.environ.pop(ESTATE, None)
    if text is None:
        return None
    estate = marshal.loads(bytes.fromhex(text))
    if estate["pid"] != os.getppid():
        return None  # left over in somebody's environment
    fd: int = estate["ready"]
    os.set_inheritable(fd, False)
    if estate["address"] != address:
        logger.warning("the address has changed: the sockets of the old supervisor are not taken over")
        for own, reader, writer in estate["slots"]:
            for other in {*own, reader, writer}:
                with contextlib.suppress(OSError):  # shared by several slots
                    os.close(other)
        estate["slots"] = []
    return estate, fd


def say_ready(fd: int, *, taken_over: bool) -> None:
    """Tell the old supervisor that it can go, and whether its sockets and connections are ours."""
    answer = Answer.TAKEN_OVER if taken_over else Answer.ELSEWHERE
    with contextlib.suppress(OSError):
        os.write(fd, answer.value)
    os.close(fd)


class Upgrade:
    """The start of a new supervisor: the same command once more, as it is now installed and configured."""

    def __init__(self, address: object) -> None:
        self._address = address
        self._pid = 0
        self._reader = -1
        self._called_off = False

    def start(self, slots: Slots) -> int | None:
        """Start it; answers the descriptor over which it will answer, None if it cannot be started."""
        if self._pid:
            logger.warning("SIGUSR2: ignored, a new supervisor (pid %d) is starting already", self._pid)
            return None
        if os.getpid() == 1:
            logger.warning("SIGUSR2: ignored, process 1 cannot be replaced; replace the container instead")
            return None
        reader, writer = os.pipe()
        estate = {**slots.describe(), "pid": os.getpid(), "ready": writer, "address": self._address}
        fds = {fd for own, *ends in estate["slots"] for fd in (*own, *ends)}
        environment = {**os.environ, ESTATE: marshal.dumps(estate).hex()}
        argv = [sys.executable, *sys.orig_argv[1:]]
        try:
            self._pid = processes.start(argv, environment, [*fds, writer])
        except OSError as error:
            logger.error("SIGUSR2: a new supervisor cannot be started: %s", error)
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
        answer = Answer(os.read(self._reader, 1))
        if answer is not Answer.FAILED:
            logger.info("the new supervisor (pid %d) is ready: leaving the service to it", self._pid)
            self._pid = 0  # it is nobody's child any more
        elif not self._called_off:
            logger.error("the new supervisor (pid %d) has failed: this one serves on", self._pid)
        os.close(self._reader)
        self._reader = -1
        return answer

    def pids(self) -> list[int]:
        return [self._pid] if self._pid else []

    def ended(self, pid: int) -> None:
        if pid == self._pid:
            self._pid = 0

    def call_off(self) -> None:
        """We are to end: so is it, unless it has taken over."""
        if self._pid:
            self._called_off = True
            processes.terminate(self._pid)
