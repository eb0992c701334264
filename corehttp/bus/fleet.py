"""The link of this worker to those of other machines: kept up, or tried again; what was missed is told.

Each worker has a link of its own, so messages depend on no other process: none is lost, and none comes twice, when a
worker is replaced or the leader changes.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from corehttp.bus.envelope import Missing, encode_delivery, encode_missing, open_envelope
from corehttp.bus.hub import Hub
from corehttp.bus.outbox import Outbox, Result
from corehttp.bus.transport import NO_ANSWER, Sent, Wire, WireError
from corehttp.ipc.bus_frames import FrameError, encode_publish
from corehttp.moments import doubling
from corehttp.text import shown

logger = logging.getLogger("corehttp.error")

FIRST_TRY = 2.0  # seconds that the start of a worker waits for the link
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before the link is tried again, twice as many after each failure
STABLE = 30.0  # seconds after which a link that ends has not failed
PING_EVERY = 5.0  # seconds
AT_ONCE = 64  # how many messages are sent at once, and received before the event loop gets a turn
BYTES_AT_ONCE = 128 * 1024  # so many, and a message more, are sent at once: a slow network takes them in time
CROWD, CROWD_BYTES = 512, 4 << 20  # how many messages, or bytes, wait before those who publish wait as well
LAST_WORDS = 1.0  # seconds that what waits may take to go out when the worker ends
FAULTS = 4  # how many different faults are logged while there is no link


class Fleet:
    """Takes messages to other machines, and gives what they send to `hub`. Implements `transport.MachineLink`.

    `node` is the number of the service on this machine, `where` names the other end in the log. `jitter` returns a
    random number in [0, 1); `pause` waits for so many seconds.
    """

    def __init__(
        self,
        hub: Hub,
        node: int,
        make_wire: Callable[[], Wire],
        where: str,
        jitter: Callable[[], float],
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._hub = hub
        self._node = node
        self._make_wire = make_wire
        self.where = where
        self._jitter = jitter
        self._pause = pause
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox()
        self._under_way: list[Result] = []  # where to note what becomes of the messages that are being sent
        self._waits = asyncio.Event()  # whether there may be something to send
        self._sent = asyncio.Event()  # whether all was sent
        self._sent.set()
        self._tried = asyncio.Event()  # whether the link has been up, or has failed
        self._wire: Wire | None = None  # what is open, or is being opened
        self._linked = False  # whether messages go over it
        self._others_miss = False  # whether messages of this worker were lost that others were not told of
        self._faults: list[str] = []  # what was logged since the link was up last
        self._fault = ""  # why there is no link; empty while there is one
        self._warned = False  # whether it was logged that something else came in
        self._task: asyncio.Task[None] | None = None

    @property
    def fault(self) -> str:
        """Why a message that was to go out may not have done so; see `transport.MachineLink`."""
        return self._fault or f"too many messages wait to go out over {self.where}"

    async def begin(self) -> None:
        """Make the link; it is up when this returns, unless the first try fails or takes longer than FIRST_TRY."""
        self._hub.machines = self
        self._task = self._loop.create_task(self._keep_up(), name="the link to other machines")
        try:
            await asyncio.wait_for(self._tried.wait(), FIRST_TRY)
        except TimeoutError:
            self._say_down(NO_ANSWER)

    async def close(self) -> None:
        """Send what waits, for LAST_WORDS at most, then end the link."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._sent.wait(), LAST_WORDS)
        self.abandon()
        if self._task is not None:
            await asyncio.wait([self._task])

    def abandon(self) -> None:
        """Begin to end the link at once. A second call does nothing."""
        if self._hub.machines is self:
            self._hub.machines = None
        if self._task is not None:
            self._task.cancel()

    def descriptors(self) -> list[int]:
        """Return the descriptors of the link."""
        return [] if self._wire is None else self._wire.descriptors()

    def publish(self, topic: str, name: bytes, data: bytes, sender: int, *, tell: bool) -> Sent:
        """Send a message to all other machines; see `transport.MachineLink`."""
        if not self._linked:
            self._others_miss = True
            return False
        result: asyncio.Future[bool] = self._loop.create_future()
        if not self._outbox.add(encode_publish(name, data, sender), topic, self._loop.time(), result):
            self._others_miss = True  # if there is no next message of the topic to tell them before the link ends
            return False
        self._sent.clear()
        self._waits.set()
        crowded = len(self._outbox) > CROWD or self._outbox.size > CROWD_BYTES
        return result if tell or crowded else True

    async def _keep_up(self) -> None:
        """Make the link, and make it again whenever it has failed."""
        failures = 0
        while True:
            lasted, fault = await self._use()
            failures = 1 if lasted >= STABLE else failures + 1
            self._say_down(fault)
            self._tried.set()
            await self._pause(doubling(failures, FIRST_PAUSE, LONGEST_PAUSE, self._jitter()))

    async def _use(self) -> tuple[float, str]:
        """Make the link and use it until it fails. Returns how many seconds it was up, and why it has failed."""
        wire, since, fault = self._make_wire(), self._loop.time(), ""
        self._wire = wire
        try:
            await wire.open()
            since = self._loop.time()
            self._up()
            async with asyncio.TaskGroup() as tasks:
                for work in (self._receive, self._send, self._ask):
                    tasks.create_task(work(wire))
        except WireError as error:
            fault = str(error)
        except ExceptionGroup as group:
            fault = _cause_of(group)
        finally:
            self._down()
            await wire.close()
            self._wire = None
        return self._loop.time() - since, fault

    def _up(self) -> None:
        """Begin to send, and tell subscribers here that they may have missed something until now."""
        logger.info("messages go to other machines over %s", self.where)
        self._linked, self._faults, self._fault = True, [], ""
        self._tried.set()
        self._hub.miss()

    def _down(self) -> None:
        """Give up what is being sent and what waits."""
        if self._under_way or len(self._outbox):
            self._others_miss = True
        self._linked = False
        self._note(taken=False)
        self._outbox.clear()
        self._outbox = Outbox()  # with it goes what was counted as lost: others are told that anything may be missing
        self._sent.set()

    def _say_down(self, fault: str) -> None:
        """Record that there is no link, and log it: one warning, then one line for each other fault that follows."""
        self._fault = f"there is no link over {self.where}: {fault}"
        if fault in self._faults or len(self._faults) >= FAULTS:
            return
        if self._faults:
            logger.info("still %s", self._fault)
        else:
            logger.warning("messages go to this machine alone: %s", self._fault)
        self._faults.append(fault)

    async def _send(self, wire: Wire) -> None:
        """Send what waits, until the link fails. Raises WireError."""
        if self._others_miss:
            await wire.publish([encode_missing(self._node)])
            self._others_miss = False
        while True:
            envelopes: list[bytes] = []
            size = 0
            while len(self._outbox) and len(envelopes) < AT_ONCE and size < BYTES_AT_ONCE:
                frame, result = self._outbox.take_first()
                envelopes.append(encode_delivery(self._node, frame))
                self._under_way.append(result)
                size += len(frame)
            if envelopes:
                await wire.publish(envelopes)
                self._note(taken=True)
                continue
            self._sent.set()
            self._waits.clear()
            await self._waits.wait()

    def _note(self, *, taken: bool) -> None:
        """Note what has become of the messages that were being sent."""
        for result in self._under_way:
            if not result.done():
                result.set_result(taken)
        self._under_way = []

    async def _receive(self, wire: Wire) -> None:
        """Give what comes in to the subscribers of this worker, until the link fails. Raises WireError."""
        received = 0
        while True:
            self._take(await wire.receive())
            received += 1
            if not received % AT_ONCE:
                await asyncio.sleep(0)  # what has come in already is read without a pause

    def _take(self, raw: bytes) -> None:
        """Act on what has come in. What no service has sent is passed over, with one warning."""
        try:
            found = open_envelope(raw, self._node)
        except FrameError as error:
            if not self._warned:
                self._warned = True
                logger.warning("over %s comes what is passed over: %s", self.where, error)
            return
        if isinstance(found, Missing):
            self._hub.miss()
        elif found is not None:
            message = found.message
            self._hub.deliver(message.topic, message.data, message.sender, message.lost, f"{found.node:016x}")

    async def _ask(self, wire: Wire) -> None:
        """Ask now and then whether the other end is still there, until it is not. Raises WireError."""
        while True:
            await self._pause(PING_EVERY)
            await wire.ping()


def _cause_of(group: ExceptionGroup[Exception]) -> str:
    """Return why a link has failed. What is no WireError is a fault of ours, and logged with its traceback."""
    for error in group.exceptions:
        if not isinstance(error, WireError):
            logger.error("the link to other machines has failed: %s", shown(error), exc_info=error)
            return shown(error)
    return str(group.exceptions[0])
