"""The upgrade in place: a new supervisor takes over the sockets of this one, which then leaves."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from enum import Enum

from corehttp.records import replaced
from corehttp.supervisor import inheritance, leftovers, processes
from corehttp.supervisor.deployment import Deployment
from corehttp.supervisor.inheritance import Inheritance
from corehttp.supervisor.world import Processes, SlotSockets

logger = logging.getLogger("corehttp.supervisor")


class TakeoverResult(Enum):
    """What a new supervisor says to the one that has started it, in one byte. One that ends without it has failed."""

    TAKEN_OVER = b"+"  # all its workers are ready, on the old one's sockets
    ELSEWHERE = b"-"  # the same, on sockets of its own
    FAILED = b""


ELDER = "COREHTTP_ELDER"  # the variable that tells a new supervisor the process id of the one that has started it

_ANSWERS = {answer.value for answer in TakeoverResult}


def inherited(address: tuple[object, ...]) -> Inheritance | None:
    """Return what this process inherits from the supervisor that has started it; None if no supervisor has.

    There are no slots in it if that supervisor serves on another `address`. Whether that one is still alive does not
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
        return replaced(left, slots=())
    return left


def elder() -> int:
    """Return the process id of the supervisor that has started this one, once; 0 if none says that it has."""
    text = os.environ.pop(ELDER, "")
    return int(text) if text.isascii() and text.isdigit() else 0


def say_ready(fd: int, *, taken_over: bool) -> None:
    """Tell the old supervisor over its pipe `fd` that it can leave, and whether its sockets were taken over."""
    answer = TakeoverResult.TAKEN_OVER if taken_over else TakeoverResult.ELSEWHERE
    with contextlib.suppress(OSError):
        os.write(fd, answer.value)
    os.close(fd)


class Upgrade:
    """Starts a new supervisor by the command of this one, and hears its answer.

    The new one runs the release that is installed by now, and reads the configuration as it is by now. `address` is
    what the options say of where the service listens, which a reload may change.
    """

    def __init__(
        self,
        address: tuple[object, ...],
        deployment: Deployment,
        processes: Processes = processes,
        more: Callable[[], tuple[dict[str, str], list[int]]] = lambda: ({}, []),
    ) -> None:
        """`more()` returns what else a new supervisor inherits: variables of its environment, and descriptors."""
        self._processes = processes
        self.address = address
        self._deployment = deployment
        self._more = more
        self._pid = 0  # the new supervisor while it is a child of this process; 0 if there is none
        self._reader = -1
        self._called_off = False
        self._successor = 0  # the new supervisor once it has taken over; 0 if none has

    def start(self, slots: SlotSockets) -> int:
        """Start a new supervisor, and return its process id. Raises OSError."""
        reader, writer = os.pipe()
        try:
            left = slots.bequeath(writer, self.address)
            variables, descriptors = self._more()
            variables = {**leftovers.bequeath(), inheritance.VARIABLE: inheritance.write(left), **variables}
            variables[ELDER] = str(os.getpid())
            environment = {**os.environ, **variables}
            argv = [sys.executable, *sys.orig_argv[1:]]
            with self._deployment.entered():
                self._pid = self._processes.start(argv, environment, [*left.sockets, *descriptors, writer])
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        self._reader = reader
        return self._pid

    def fileno(self) -> int:
        """The descriptor that can be read when the answer has come in; -1 if none is awaited."""
        return self._reader

    def answer(self) -> TakeoverResult:
        """Read the answer, which is there, and close the descriptor. A new supervisor that has failed is ended."""
        said = os.read(self._reader, 1)
        answer = TakeoverResult(said) if said in _ANSWERS else TakeoverResult.FAILED
        if answer is not TakeoverResult.FAILED:
            logger.info("the new supervisor (pid %d) is ready: leaving the service to it", self._pid)
            self._successor, self._pid = self._pid, 0
        elif not self._called_off:
            logger.error("the new supervisor (pid %d) has failed: this one serves on", self._pid)
            if self._pid:
                self._processes.kill(self._pid)  # it is about to end anyway, or what it has said makes no sense
        os.close(self._reader)
        self._reader = -1
        return answer

    @property
    def successor(self) -> int:
        """The process id of the new supervisor that serves in the place of this one; 0 if none does."""
        return self._successor

    @property
    def succeeded(self) -> bool:
        """Whether a new supervisor serves in the place of this one."""
        return bool(self._successor)

    @property
    def outlived(self) -> bool:
        """Whether a new supervisor has taken over and has ended since."""
        return bool(self._successor) and not leftovers.runs(self._successor)

    def ended(self) -> None:
        """Note that the new supervisor has ended before it took over."""
        self._pid = 0

    def call_off(self) -> None:
        """End the new supervisor because this one ends, unless the new one has taken over."""
        if self._pid:
            self._called_off = True
            self._processes.terminate(self._pid)
