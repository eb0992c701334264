"""The admin child's way to its supervisor: it asks over the channel, and obeys what is said there."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import assert_never

from corehttp.admin.content import Content
from corehttp.ipc import messages
from corehttp.ipc.channel import ChildEnd
from corehttp.ipc.messages import Answer, Ask, FromSupervisor
from corehttp.logs import reopen
from corehttp.records import record

logger = logging.getLogger("corehttp.supervisor")

INTERVAL = 0.05  # seconds between two questions for the overview at least
PATIENCE = 0.5  # seconds for which an answer of the supervisor is waited for


@record
class Seen:
    """What the supervisor has said last, and how long it has owed an answer (seconds)."""

    overview: Content | None  # None: it has said nothing yet
    silent: float


class SupervisorLink:
    """Asks the supervisor, in the running event loop. Many may ask at once; it is asked one thing after the other.

    `on_leave` is called when this process is to end: with True after it has finished what it does, since another one
    serves in its place, and with False at once, since the supervisor is gone.
    """

    def __init__(
        self,
        channel: ChildEnd,
        loop: asyncio.AbstractEventLoop,
        on_leave: Callable[[bool], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._channel = channel
        self._loop = loop
        self._on_leave = on_leave
        self._clock = clock
        self._last = 0  # the number of the last question
        self._answers: dict[int, asyncio.Future[Content]] = {}  # the questions that have no answer yet
        self._overview: Content | None = None
        self._refused = False  # whether the last question for the overview was refused, which was logged
        self._asked_at = -INTERVAL  # when the overview was asked for last (seconds, by the clock)
        self._asking: asyncio.Future[Content] | None = None  # the overview that was asked for and has not come
        self._wanted: asyncio.Future[None] | None = None  # done with the overview that will be asked for next
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Hear the supervisor from now on."""
        self._loop.add_reader(self._channel.fileno(), self._receive)

    async def look(self, patience: float = PATIENCE) -> Seen:
        """Return how the service is at this moment, or, where the supervisor needs longer, what it has said last."""
        if self._wanted is None:
            self._wanted = self._loop.create_future()
            self._schedule()
        await asyncio.wait([self._wanted], timeout=patience)
        return self.seen()

    def seen(self) -> Seen:
        """Return what the supervisor has said last."""
        return Seen(self._overview, max(0.0, self._clock() - self._asked_at) if self._asking is not None else 0.0)

    async def ask(self, verb: str, arguments: Content, patience: float) -> Content | None:
        """Return what an operator who asks the same is told; None if nothing comes within `patience` (seconds)."""
        answer = self._send(verb, arguments)
        done, _ = await asyncio.wait([answer], timeout=patience)
        return answer.result() if done else None

    def _send(self, verb: str, arguments: Content) -> asyncio.Future[Content]:
        self._last += 1
        self._answers[self._last] = answer = self._loop.create_future()
        self._channel.send(Ask(self._last, verb, dict(arguments)))
        return answer

    def _schedule(self) -> None:
        """Ask for the overview as soon as the last one has come, and not too often."""
        if self._asking is None and self._wanted is not None and self._timer is None:
            wait = max(0.0, self._asked_at + INTERVAL - self._clock())
            self._timer = self._loop.call_later(wait, self._ask_for_overview)

    def _ask_for_overview(self) -> None:
        self._timer = None
        wanted, self._wanted = self._wanted, None
        self._asked_at = self._clock()
        self._asking = self._send("overview", {})

        def answered(answer: asyncio.Future[Content]) -> None:
            content = answer.result()
            if "fault" not in content:
                self._overview, self._refused = content, False
            elif not self._refused:
                self._refused = True
                logger.error("the supervisor does not tell how the service is: %s", content.get("reason"))
            self._asking = None
            if wanted is not None and not wanted.done():
                wanted.set_result(None)
            self._schedule()

        self._asking.add_done_callback(answered)

    def _receive(self) -> None:
        received, gone = self._channel.receive()
        for message in received:
            self._obey(message)
        if gone:
            self._loop.remove_reader(self._channel.fileno())
            self._on_leave(False)

    def _obey(self, message: FromSupervisor) -> None:
        match message:
            case Answer(number, content):
                answer = self._answers.pop(number, None)
                if answer is not None and not answer.done():
                    answer.set_result(content)
            case messages.Leave():
                self._on_leave(True)
            case messages.Reopen():
                reopen()
            case (
                messages.Boot()
                | messages.Fork()
                | messages.Serve()
                | messages.Inboxes()
                | messages.Lead()
                | messages.StepDown()
                | messages.WatchSince()
            ):
                raise AssertionError(f"the admin child was told {message}")
            case _:
                assert_never(message)
