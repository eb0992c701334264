"""Accept connections while there is room; who finds none waits in the kernel's queue, and nobody is lost."""

import asyncio
import contextvars
import errno
import functools
import logging
import resource
import socket
from collections.abc import Callable, Collection, Coroutine, Iterable
from enum import Enum

from corehttp.ipc.handover import MOST, HandedSocket, InboxQueue
from corehttp.sockets.accept_queue import PEER_FAILED, AcceptedSocket, AcceptQueue

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

# What gives a connection its transport and protocol; each time it waits it says for what.
Waiter = asyncio.Future[object] | None
Adoption = Coroutine[Waiter, None, object]
Waiting = tuple[Adoption, AcceptedSocket, Waiter]


class AcceptorStage(Enum):
    """What an acceptor does with those who want to connect."""

    ACCEPTING = "accepting"
    FINISHING = "finishing"  # it takes in those who wait in the kernel's queue, and then closes
    CLOSED = "closed"


class Hold(Enum):
    """A reason for which connections are left waiting in the kernel's queue."""

    FULL = "full"  # the limit is reached
    SHORTAGE = "shortage"  # of descriptors or memory
    PAUSE = "pause"  # somebody wants it so


class Acceptor:
    """Takes in the connections to some listening sockets, which it owns, and gives each its protocol.

    `connections` are those that are open, kept by whoever makes the protocols; never more than `limit`, unless that is
    0. Those that other workers pass on come in through `inbox`, which it owns too; `make_protocol` is called with the
    `Parcel` of each. To be used in the thread of the event loop.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sockets: Iterable[socket.socket],
        make_protocol: Callable[..., asyncio.Protocol],
        connections: Collection[object],
        limit: int = 0,
        inbox: socket.socket | None = None,
    ) -> None:
        self._loop = loop
        self._queues: list[AcceptQueue | InboxQueue] = [AcceptQueue(sock) for sock in sockets]
        if inbox is not None:
            self._queues.append(InboxQueue(inbox))
        self._make_protocol = make_protocol
        self._connections = connections
        self._limit = limit
        # A connection must not inherit the context variables of the request with which another one ended.
        self._context = contextvars.copy_context()
        self._stage = AcceptorStage.ACCEPTING
        self._holds: set[Hold] = set()
        self._watching = False
        # Connections that were accepted and have no protocol yet.
        self._adopting: set[AcceptedSocket] = set()
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
        """Close the sockets, then call `then`. Who waits is reset, unless another process listens on them too."""
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
        """Let the event loop tell who comes, if and only if nothing holds us."""
        wanted = self._stage is AcceptorStage.ACCEPTING and not self._holds
        if wanted is not self._watching:
            self._watching = wanted
            for queue in self._queues:
                if wanted:
                    self._loop.add_reader(queue.fileno(), self._accept, queue)
                else:
                    self._loop.remove_reader(queue.fileno())

    def _accept(self, queue: AcceptQueue | InboxQueue) -> None:
        """Take in a batch, as far as there is room."""
        self._take(queue, BATCH if not self._limit else min(BATCH, self._room()))
        if self._limit and self._room() <= 0:
            self._holds.add(Hold.FULL)
            # Who has used up the room is the last one to get some.
            self._queues.sort(key=lambda other: other is queue)
        if self._holds:
            self._watch()

    def _room(self) -> int:
        # For a moment, one that has just got its protocol counts twice.
        return self._limit - len(self._connections) - len(self._adopting)

    def _take(self, queue: AcceptQueue | InboxQueue, room: int) -> bool:
        """Take in up to so many; answers whether nobody is left who could be taken in."""
        begun: list[Waiting] = []
        emptied = False
        while room > 0 and not emptied:
            room -= 1
            try:
                connection = queue.take()
            except BlockingIOError:
                emptied = True  # another process that listens on it was faster
            except EOFError:
                emptied = True
                self._let_go(queue)
            except OSError as error:
                if error.errno in PEER_FAILED:
                    continue
                # accept(2) looks for a descriptor before it looks whether anybody waits. Anything else means at the end
                # that the socket has been shut, as the supervisor does after a while.
                short = error.errno in _SHORTAGES
                emptied = not queue.waits() if short else self._stage is AcceptorStage.FINISHING
                if not emptied:
                    self._wait_out(error)
                break
            else:
                self._adopting.add(connection)
                adoption = self._loop.connect_accepted_socket(self._maker(connection), connection)
                self._advance(adoption, connection, begun)
                emptied = not queue.waits()
        if begun:
            self._loop.call_soon(self._settle, begun)
        return emptied or (
            room <= 0 and self._stage is AcceptorStage.FINISHING
        )  # somebody fills it faster than we can read

    def _let_go(self, queue: AcceptQueue | InboxQueue) -> None:
        """The inbox was shut down: it would be readable for good."""
        logger.warning("a process has shut down the inbox of this worker: others pass it no connections any more")
        if self._watching:
            self._loop.remove_reader(queue.fileno())
        self._queues.remove(queue)
        queue.close()

    def _maker(self, connection: AcceptedSocket) -> Callable[[], asyncio.Protocol]:
        """What makes the protocol of this connection."""
        if not isinstance(connection, HandedSocket):
            return self._make_protocol
        parcel, connection.parcel = connection.parcel, None
        return functools.partial(self._make_protocol, parcel)

    def _advance(self, adoption: Adoption, connection: AcceptedSocket, waiting: list[Waiting]) -> None:
        """Let an adoption go on until it ends, or waits and joins those in `waiting`.

        A task would do it for twice the price, for it has a context and a turn of the loop of its own.
        """
        try:
            waiting.append((adoption, connection, adoption.send(None)))
        except StopIteration:
            self._adopting.discard(connection)
        except (Exception, asyncio.CancelledError) as error:
            self._adopting.discard(connection)
            connection.close()
            logger.error("an accepted connection was lost", exc_info=error)

    def _settle(self, begun: list[Waiting]) -> None:
        """Go on with adoptions: each waits for its first turn of the loop, which is over now; with TLS for more."""
        waiting: list[Waiting] = []
        for adoption, connection, waiter in begun:
            if waiter is None or waiter.done():
                self._advance(adoption, connection, waiting)
            else:
                waiting.append((adoption, connection, waiter))
        for one in waiting:
            if one[2] is None:
                self._loop.call_soon(self._settle, [one])
            else:
                one[2].add_done_callback(functools.partial(self._awaited, one))
        self.released()

    def _awaited(self, one: Waiting, waiter: object) -> None:
        self._settle([one])

    def _wait_out(self, error: OSError) -> None:
        """Leave them waiting after a failure that would come again at once; say so once."""
        self._holds.add(Hold.SHORTAGE)
        if self._look_later is None:
            self._look_later = self._loop.call_later(RETRY, self._look, context=self._context)
        now = self._loop.time()
        if now - self._failed_at >= EPISODE:
            files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            reason = _SHORTAGES.get(error.errno or 0, str(error)).format(files=files)
            logger.error("no connection can be accepted for the moment, new ones must wait: %s", reason)
        self._failed_at = now

    def _schedule(self) -> None:
        """Look again soon: when a protocol learns of its end, its descriptor is not free yet."""
        if self._look_soon is None:
            self._look_soon = self._loop.call_soon(self._look, context=self._context)

    def _look(self) -> None:
        """See which holds are over, and take in who waits by now."""
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
