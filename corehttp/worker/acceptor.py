"""Accept connections while there is room; clients that find none wait in the kernel's queue, and none is lost."""

import asyncio
import contextvars
import errno
import logging
import socket
from collections.abc import Callable, Collection, Iterable
from enum import Enum
from typing import TYPE_CHECKING, Protocol, Union

from corehttp.ipc.handed_socket import MOST, HandedSocket
from corehttp.sockets.accept_queue import PEER_FAILED, Accepted, AcceptQueue
from corehttp.worker.adoptions import Adoptions, MakeProtocol, Openings
from corehttp.worker.on_windows import most_files

if TYPE_CHECKING:
    from corehttp.ipc.handover import InboxQueue

Queue = Union[AcceptQueue, "InboxQueue"]

logger = logging.getLogger("corehttp.error")

BATCH = 16  # connections taken in at one wake-up
RETRY = 1.0  # seconds until the next try, when something has run out and no connection ends
EPISODE = 10.0  # seconds without a failure, after which the next one is logged again

_NO_MEMORY = "the kernel has no memory for connections; give it more, or set --limit-connections"
# What accept(2) runs out of, and what the operator can do about it.
_SHORTAGES = {
    errno.EMFILE: "this process has opened all the {files} files that it may; "
    "raise `ulimit -n` (LimitNOFILE= in systemd), or set --limit-connections to less",
    errno.ENFILE: "the system has opened all the files that it may; raise fs.file-max, or set --limit-connections",
    errno.ENOBUFS: _NO_MEMORY,
    errno.ENOMEM: _NO_MEMORY,
}


class Placement(Protocol):
    """Decides whether a worker keeps the connections that it accepts."""

    def divert(self, connection: Accepted, own: int, /) -> bool:
        """Pass a new connection on to another worker if that is better, and close it here; answers whether it did.

        `own` is how many connections this worker has without it.
        """
        ...

    def arriving(self, count: int, /) -> None:
        """Note that `count` connections have no protocol yet; called whenever that number has changed."""
        ...


class AcceptorStage(Enum):
    """What an acceptor does with those who want to connect."""

    ACCEPTING = "accepting"
    FINISHING = "finishing"  # it takes in those who wait in the kernel's queue, and then closes
    CLOSED = "closed"


class Hold(Enum):
    """A reason for which connections are left waiting in the kernel's queue."""

    FULL = "full"  # the limit is reached
    SHORTAGE = "shortage"  # there are no descriptors, or no memory
    PAUSE = "pause"  # `pause` was called, and `resume` was not


class Acceptor:
    """Takes in the connections to some listening sockets, which it owns, and gives each its protocol.

    `connections` are those that are open, kept by whoever makes the protocols; never more than `limit`, unless that is
    0. Those that other workers pass on come in through `inbox`, which it owns too. `placement` may pass on to others
    what comes from a listening socket, `openings` reads the PROXY header of those that have one. To be used in the
    thread of the event loop.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sockets: Iterable[socket.socket],
        make_protocol: MakeProtocol,
        connections: Collection[object],
        limit: int = 0,
        inbox: socket.socket | None = None,
        placement: Placement | None = None,
        openings: Openings | None = None,
    ) -> None:
        self._loop = loop
        self._queues: list[Queue] = [AcceptQueue(sock) for sock in sockets]
        if inbox is not None:
            from corehttp.ipc.handover import InboxQueue  # here, since a worker without a supervisor has no inbox

            self._queues.append(InboxQueue(inbox))
        self._takes_descriptors = type(loop).__module__ == "uvloop"  # whether the loop takes an AcceptedDescriptor
        self._connections = connections
        self._limit = limit
        self._placement = placement
        # A connection must not inherit the context variables of the request with which another one ended.
        self._context = contextvars.copy_context()
        self._stage = AcceptorStage.ACCEPTING
        self._holds: set[Hold] = set()
        self._watching = False
        show = (lambda count: None) if placement is None else placement.arriving
        self._adoptions = Adoptions(loop, make_protocol, openings, show, self.released)
        self._adopting = self._adoptions.pending  # connections that were accepted and have no protocol yet
        self._look_soon: asyncio.Handle | None = None
        self._look_later: asyncio.Handle | None = None
        self._failed_at = -EPISODE
        self._then: Callable[[], object] | None = None

    @property
    def done(self) -> bool:
        """Whether it is closed, and all that it took in have their protocol."""
        return self._stage is AcceptorStage.CLOSED and not self._adopting

    def descriptors(self) -> list[int]:
        """The descriptors of the listening sockets and the inbox, and of connections that have no protocol yet."""
        return [one.fileno() for one in (*self._queues, *self._adopting)]

    def start(self) -> None:
        """Begin to accept connections."""
        self._watch()

    def pause(self) -> None:
        """Leave connections waiting until `resume`."""
        self._holds.add(Hold.PAUSE)
        self._watch()

    def resume(self) -> None:
        """Accept connections again after `pause`."""
        self._holds.discard(Hold.PAUSE)
        self._schedule()

    def released(self) -> None:
        """Note that a connection has ended, so that there may be room for another."""
        if self._holds:
            self._schedule()

    def finish(self, then: Callable[[], object] | None = None) -> None:
        """Take in all that wait, whatever the limit and a pause say; then close the sockets and call `then`.

        Where descriptors or memory run out, that takes until enough connections have ended, or until `close`.
        """
        if self._stage is AcceptorStage.ACCEPTING:
            self._stage = AcceptorStage.FINISHING
            self._then = then
            self._watch()
            self._empty()

    def close(self, then: Callable[[], object] | None = None) -> None:
        """Close the sockets, then call `then`. Clients that wait are reset, unless another process listens too."""
        if self._stage is AcceptorStage.CLOSED:
            return
        self._stage = AcceptorStage.CLOSED
        self._watch()
        self._cancel_looks()
        for queue in self._queues:
            queue.close()
        then, self._then = then or self._then, None
        if then is not None:
            then()

    def _watch(self) -> None:
        """Have the event loop report connections that come, if and only if it is accepting and there is no hold."""
        wanted = self._stage is AcceptorStage.ACCEPTING and not self._holds
        if wanted is not self._watching:
            self._watching = wanted
            for queue in self._queues:
                if wanted:
                    self._loop.add_reader(queue.fileno(), self._accept, queue)
                else:
                    self._loop.remove_reader(queue.fileno())

    def _accept(self, queue: Queue) -> None:
        """Take in a batch, as far as there is room."""
        self._take(queue, BATCH if not self._limit else min(BATCH, self._room()))
        if self._limit and self._room() <= 0:
            self._holds.add(Hold.FULL)
            # The queue that has used up the room is the last one to get some the next time.
            self._queues.sort(key=lambda other: other is queue)
        if self._holds:
            self._watch()

    def _room(self) -> int:
        return self._limit - len(self._connections) - len(self._adopting)  # a new one counts twice for a moment

    def _take(self, queue: Queue, room: int) -> bool:
        """Take in up to `room` connections; returns whether none is left that could be taken in."""
        emptied = False
        take = queue.taking(self._takes_descriptors)
        while room > 0 and not emptied:
            room -= 1
            try:
                connection = take()
            except BlockingIOError:
                emptied = True  # another process that listens on it was faster
            except EOFError as error:
                emptied = True
                self._let_go(queue, error)
            except OSError as error:
                if error.errno in PEER_FAILED:
                    continue
                emptied = self._is_empty_after(error, queue)
                break
            else:
                if self._placement is None or not self._is_diverted(connection, self._placement):
                    self._adoptions.begin(connection)
                emptied = not queue.waits()
        self._adoptions.settle_soon()
        # Without room left at the end, MOST were taken in: another process fills the queue faster than it is read.
        return emptied or (room <= 0 and self._stage is AcceptorStage.FINISHING)

    def _is_empty_after(self, error: OSError, queue: Queue) -> bool:
        """Return whether none is left that could be taken in, after a failure of the queue; if not, wait it out."""
        # accept(2) looks for a descriptor before it looks whether anybody waits. Any other failure means, while the
        # acceptor finishes, that the socket has been shut, as the supervisor does after a while.
        short = error.errno in _SHORTAGES
        emptied = not queue.waits() if short else self._stage is AcceptorStage.FINISHING
        if not emptied:
            self._wait_out(error)
        return emptied

    def _is_diverted(self, connection: Accepted, placement: Placement) -> bool:
        """Pass a connection on if it comes from a listening socket and another worker is to have it; whether it is so.

        One that another worker has passed on stays here, so that none goes to and fro.
        """
        if self._stage is not AcceptorStage.ACCEPTING or isinstance(connection, HandedSocket):
            return False
        return placement.divert(connection, len(self._connections) + len(self._adopting))

    def _let_go(self, queue: Queue, error: EOFError) -> None:
        """Stop reading a queue that was shut, of a removed bind or the inbox: it would be readable for ever."""
        if not isinstance(queue, AcceptQueue):
            logger.warning("a process has shut down the inbox of this worker: others pass it no connections any more")
        elif self._stage is AcceptorStage.ACCEPTING and not queue.is_temporary:  # else the supervisor says it, once
            logger.warning("nobody is accepted any more on a socket that a process has shut: %s", error)
        if self._watching:
            self._loop.remove_reader(queue.fileno())
        self._queues.remove(queue)
        queue.close()

    def _wait_out(self, error: OSError) -> None:
        """Leave clients waiting after a failure that would come again at once; log the first one of an EPISODE."""
        self._holds.add(Hold.SHORTAGE)
        if self._look_later is None:
            self._look_later = self._loop.call_later(RETRY, self._look, context=self._context)
        now = self._loop.time()
        if now - self._failed_at >= EPISODE:
            reason = _SHORTAGES.get(error.errno or 0, str(error)).format(files=most_files())
            logger.error("no connection can be accepted for the moment, new ones must wait: %s", reason)
        self._failed_at = now

    def _schedule(self) -> None:
        """Look again soon: when a protocol learns of its end, its descriptor is not free yet."""
        if self._look_soon is None:
            self._look_soon = self._loop.call_soon(self._look, context=self._context)

    def _look(self) -> None:
        """End the holds whose reason is gone, and take in the connections that wait by now."""
        self._cancel_looks()
        self._holds.discard(Hold.SHORTAGE)
        if self._room() > 0:
            self._holds.discard(Hold.FULL)
        match self._stage:
            case AcceptorStage.ACCEPTING:
                for queue in tuple(self._queues):
                    if not self._holds and queue.waits():
                        self._accept(queue)
                self._watch()
            case AcceptorStage.FINISHING:
                self._empty()
            case AcceptorStage.CLOSED:
                pass

    def _empty(self) -> None:
        emptied = [self._take(queue, MOST) for queue in tuple(self._queues)]
        if all(emptied):
            self.close()

    def _cancel_looks(self) -> None:
        for handle in (self._look_soon, self._look_later):
            if handle is not None:
                handle.cancel()
        self._look_soon = self._look_later = None
