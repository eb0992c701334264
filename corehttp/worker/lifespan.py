"""The lifespan conversation (ASGI lifespan specification 2.0)."""

import asyncio
import logging
from enum import Enum

from corehttp.asgi import LIFESPAN_VERSIONS, ASGIApp, Message, State
from corehttp.errors import StartupError
from corehttp.text import shown
from corehttp.tracebacks import application_traceback

logger = logging.getLogger("corehttp.error")


class LifespanStage(Enum):
    """How far the lifespan conversation with the application has come."""

    OFF = "off"  # the application takes no part in the lifespan
    STARTING = "starting"
    STARTED = "started"
    STOPPING = "stopping"
    STOPPED = "stopped"


_SHUTDOWN_FAILED = "lifespan.shutdown.failed"  # some frameworks report with it whatever ends their lifespan
_EXPECTED = dict.fromkeys(LifespanStage, "lifespan.shutdown.") | {LifespanStage.STARTING: "lifespan.startup."}


class Lifespan:
    """One application's start-up and shutdown.

    `mode` is "auto" (an application that raises is served without lifespan), "on" (it must take part) or "off".
    """

    def __init__(self, app: ASGIApp, mode: str, state: State) -> None:
        self._app = app
        self._mode = mode
        self._state = state
        self._stage = LifespanStage.OFF
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._answer: asyncio.Future[str | None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._early_failure: str | None = None  # what the application has reported before it was told to stop

    async def startup(self) -> None:
        """Run the application's start-up.

        Raises StartupError if the application reports a failure, wants to exit, or raises and the mode is "on".
        """
        if self._mode == "off":
            return
        self._stage = LifespanStage.STARTING
        failure = await self._ask("lifespan.startup")
        if failure is not None:
            self._stage = LifespanStage.STOPPED
            raise StartupError("the application's start-up failed", failure)

    async def shutdown(self) -> None:
        """Run the application's shutdown if its start-up succeeded, once; a failure is logged and not raised."""
        if self._stage is not LifespanStage.STARTED:
            return
        self._stage = LifespanStage.STOPPING
        failure = await self._ask("lifespan.shutdown")
        self._stage = LifespanStage.STOPPED
        if failure is not None:
            logger.error("the application's shutdown failed: %s", failure.rstrip())
        if self._task is not None:
            await asyncio.wait([self._task], timeout=1)

    async def _ask(self, event: str) -> str | None:
        """Send an event and wait for its answer: None, or what failed."""
        loop = asyncio.get_running_loop()
        self._answer = answer = loop.create_future()
        self._inbox.put_nowait({"type": event})
        if self._task is None:
            self._task = loop.create_task(self._run(), name="lifespan")
        failure: str | None = await answer
        return failure

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": LIFESPAN_VERSIONS.copy(), "state": self._state}
        try:
            await self._app(scope, self._inbox.get, self._send)
        except BaseException as error:  # SystemExit and KeyboardInterrupt too: raised here they are the application's
            self._raised(error)
        else:
            if self._stage is LifespanStage.STARTING:
                # The application does not know lifespan and said so by returning.
                self._stage = LifespanStage.OFF
            elif self._stage is LifespanStage.STARTED:
                self._stage = LifespanStage.STOPPED
                if self._early_failure is not None:
                    logger.error("the application's lifespan ended early: %s", self._early_failure.rstrip())
            self._resolve(None)

    def _raised(self, error: BaseException) -> None:
        text = application_traceback(error)
        pending = self._answer is not None and not self._answer.done()
        unaware = self._mode == "auto" and isinstance(error, Exception)
        if self._stage is LifespanStage.STARTING and unaware and pending:
            # ASGI: an application that raises here is to be served without lifespan. What it raised may still matter.
            logger.info("served without lifespan: the application raised %s", shown(error))
            logger.debug("%s", text.rstrip())
            self._stage = LifespanStage.OFF
            self._resolve(None)
        elif pending:
            self._resolve(text)
        elif self._stage is LifespanStage.STARTED:
            if not self._is_torn_down(error):
                logger.error("the application's lifespan ended early", exc_info=error)
            self._stage = LifespanStage.STOPPED

    def _is_torn_down(self, error: BaseException) -> bool:
        """Whether the event loop is ending and takes the lifespan along, whose reason is told elsewhere."""
        return isinstance(error, asyncio.CancelledError) and self._task is not None and self._task.cancelling() > 0

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        match self._stage:
            case LifespanStage.STARTING if kind == "lifespan.startup.complete":
                self._stage = LifespanStage.STARTED
                self._resolve(None)
            case LifespanStage.STARTED | LifespanStage.STOPPING | LifespanStage.STOPPED if (
                kind == "lifespan.shutdown.complete"
            ):
                self._resolve(None)
            case LifespanStage.STARTING | LifespanStage.STOPPING if kind in (
                _EXPECTED[self._stage] + "failed",
                _SHUTDOWN_FAILED,
            ):
                self._resolve(_reason(message))
            case LifespanStage.STARTED if kind == _SHUTDOWN_FAILED:
                self._early_failure = _reason(message)  # the error itself may follow, and is better
            case LifespanStage.OFF | LifespanStage.STOPPED if kind == _SHUTDOWN_FAILED:
                pass  # nobody asks any more
            case stage:
                expected = _EXPECTED[stage]
                raise RuntimeError(f"expected {expected}complete or {expected}failed, got {kind!r}")

    def _resolve(self, failure: str | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(failure)


def _reason(message: Message) -> str:
    return str(message.get("message") or "the application gave no reason")
