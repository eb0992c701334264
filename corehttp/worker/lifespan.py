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


_SHUTDOWN_FAILED = "lifespan.shutdown.failed"  # some frameworks report anything that ends their lifespan with it
# How the messages begin that are expected in each stage.
_EXPECTED = dict.fromkeys(LifespanStage, "lifespan.shutdown.") | {LifespanStage.STARTING: "lifespan.startup."}


class Lifespan:
    """Runs the start-up and the shutdown of one application.

    `mode` is "auto" (an application that raises is served without lifespan), "on" (it must take part) or "off".
    `state` is what the application can share with its requests.
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
        """Send an event, wait for the application's answer, and return None or what has failed."""
        loop = asyncio.get_running_loop()
        self._answer = answer = loop.create_future()
        self._inbox.put_nowait({"type": event})
        if self._task is None:
            self._task = loop.create_task(self._run(), name="lifespan")
        failure: str | None = await answer
        return failure

    async def _run(self) -> None:
        """Run the application's side of the conversation, and record how it ends."""
        scope = {"type": "lifespan", "asgi": LIFESPAN_VERSIONS.copy(), "state": self._state}
        try:
            await self._app(scope, self._inbox.get, self._send)
        except BaseException as error:  # also SystemExit and KeyboardInterrupt, which the application has raised here
            self._raised(error)
        else:
            if self._stage is LifespanStage.STARTING:
                # An application that does not know lifespan may say so by returning.
                self._stage = LifespanStage.OFF
            elif self._stage is LifespanStage.STARTED:
                self._stage = LifespanStage.STOPPED
                if self._early_failure is not None:
                    logger.error("the application's lifespan ended early: %s", self._early_failure.rstrip())
            self._resolve(None)

    def _raised(self, error: BaseException) -> None:
        """Record that the application has raised, and answer the event that waits, or log it."""
        text = application_traceback(error)
        pending = self._answer is not None and not self._answer.done()
        unaware = self._mode == "auto" and isinstance(error, Exception)
        if self._stage is LifespanStage.STARTING and unaware and pending:
            # An application that raises here is to be served without lifespan (ASGI lifespan specification); what it
            # has raised may still matter, so it is logged.
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
        """Whether the lifespan was cancelled because the event loop ends, for a reason that is logged elsewhere."""
        return isinstance(error, asyncio.CancelledError) and self._task is not None and self._task.cancelling() > 0

    async def _send(self, message: Message) -> None:
        """Take a message of the application; raises RuntimeError for one that is not expected now."""
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
                self._early_failure = _reason(message)  # logged later, unless the application raises what it means
            case LifespanStage.OFF | LifespanStage.STOPPED if kind == _SHUTDOWN_FAILED:
                pass  # nothing waits for an answer any more
            case stage:
                expected = _EXPECTED[stage]
                raise RuntimeError(f"expected {expected}complete or {expected}failed, got {kind!r}")

    def _resolve(self, failure: str | None) -> None:
        """Answer the event that was sent last with None, or with what has failed."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(failure)


def _reason(message: Message) -> str:
    return str(message.get("message") or "the application gave no reason")
