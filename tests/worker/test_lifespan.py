"""The lifespan conversation, with applications that keep to it and others that do not."""

import asyncio
import logging
import traceback
from typing import Any

import pytest

from corehttp.asgi import ASGIApp, Receive, Scope, Send, State
from corehttp.errors import StartupError
from corehttp.worker.lifespan import Lifespan

STARTED, STOPPED = {"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}
MODES = pytest.mark.parametrize("mode", ["auto", "on"])


async def polite(scope: Scope, receive: Receive, send: Send) -> None:
    assert scope["type"] == "lifespan"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}
    assert await receive() == {"type": "lifespan.startup"}
    scope["state"]["database"] = "open"
    await send(STARTED)
    assert await receive() == {"type": "lifespan.shutdown"}
    scope["state"]["database"] = "closed"
    await send(STOPPED)


async def silent(scope: Scope, receive: Receive, send: Send) -> None:
    """Returns without a word."""


async def raising(scope: Scope, receive: Receive, send: Send) -> None:
    raise LookupError("only http")


async def raising_after_receive(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    raise LookupError("no database")


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "no database"})


async def refusing_without_reason(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed"})


async def refusing_and_raising(scope: Scope, receive: Receive, send: Send) -> None:
    await refusing(scope, receive, send)
    raise LookupError("no database")


async def confused(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start"})


@MODES
async def test_a_polite_application_starts_and_stops(mode: str) -> None:
    state: State = {}
    lifespan = Lifespan(polite, mode, state)
    await lifespan.startup()
    assert state == {"database": "open"}
    await lifespan.shutdown()
    assert state == {"database": "closed"}


async def test_shutdown_runs_once() -> None:
    events: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for answer in (STARTED, STOPPED):
            events.append((await receive())["type"])
            await send(answer)

    lifespan = Lifespan(app, "on", {})
    await lifespan.startup()
    await lifespan.shutdown()
    await lifespan.shutdown()
    assert events == ["lifespan.startup", "lifespan.shutdown"]


async def test_off_never_calls_the_application() -> None:
    lifespan = Lifespan(raising, "off", {})
    await lifespan.startup()
    await lifespan.shutdown()


async def test_shutdown_without_a_startup_does_nothing() -> None:
    await Lifespan(polite, "on", {}).shutdown()


async def test_auto_serves_an_application_that_returns_at_once() -> None:
    lifespan = Lifespan(silent, "auto", {})
    await lifespan.startup()
    await lifespan.shutdown()


@pytest.mark.parametrize("app", [raising, raising_after_receive, confused])
async def test_auto_serves_an_application_that_raises_and_logs_it(
    app: ASGIApp, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "corehttp.error"):
        lifespan = Lifespan(app, "auto", {})
        await lifespan.startup()
        await lifespan.shutdown()
    [record] = caplog.records
    assert record.getMessage().startswith("served without lifespan: the application raised ")


@pytest.mark.parametrize("app", [raising, raising_after_receive])
async def test_on_refuses_an_application_that_raises_and_shows_its_traceback(app: ASGIApp) -> None:
    with pytest.raises(StartupError, match="start-up failed") as caught:
        await Lifespan(app, "on", {}).startup()
    assert "LookupError: " in caught.value.detail
    assert app.__name__ in caught.value.detail


async def test_on_refuses_an_application_that_sends_something_else() -> None:
    with pytest.raises(StartupError) as caught:
        await Lifespan(confused, "on", {}).startup()
    assert "expected lifespan.startup.complete or lifespan.startup.failed, got 'http.response.start'" in (
        caught.value.detail
    )


@MODES
@pytest.mark.parametrize("app", [refusing, refusing_and_raising])
async def test_a_startup_that_failed_is_told_with_its_reason(app: ASGIApp, mode: str) -> None:
    with pytest.raises(StartupError) as caught:
        await Lifespan(app, mode, {}).startup()
    assert caught.value.detail == "no database"


async def test_a_startup_that_failed_without_a_reason_says_so() -> None:
    with pytest.raises(StartupError) as caught:
        await Lifespan(refusing_without_reason, "auto", {}).startup()
    assert caught.value.detail == "the application gave no reason"


async def test_no_shutdown_after_a_startup_that_failed() -> None:
    received: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        received.append(await receive())
        await send({"type": "lifespan.startup.failed", "message": "no"})
        received.append(await receive())

    lifespan = Lifespan(app, "auto", {})
    with pytest.raises(StartupError):
        await lifespan.startup()
    await lifespan.shutdown()
    assert received == [{"type": "lifespan.startup"}]
    await end_other_tasks()


@pytest.mark.parametrize("answer", [{"type": "lifespan.shutdown.failed", "message": "still open"}, None])
async def test_a_shutdown_that_fails_is_logged_and_ends(
    answer: dict[str, str] | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        await receive()
        if answer is None:
            raise LookupError("still open")
        await send(answer)

    lifespan = Lifespan(app, "auto", {})
    await lifespan.startup()
    await lifespan.shutdown()
    [record] = caplog.records
    assert record.getMessage().startswith("the application's shutdown failed: ")
    assert record.getMessage().endswith("still open")


@pytest.mark.parametrize("turns", [0, 3])
async def test_a_lifespan_that_raises_after_its_startup_is_logged_and_not_asked_to_stop(
    turns: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        await wait_for_turns(turns)
        raise LookupError("gave up")

    lifespan = Lifespan(app, "auto", {})
    await lifespan.startup()
    await wait_for_turns(turns + 1)
    async with asyncio.timeout(2):
        await lifespan.shutdown()
    assert [record.getMessage() for record in caplog.records] == ["the application's lifespan ended early"]


@pytest.mark.parametrize("turns", [0, 3])
async def test_a_lifespan_that_returns_after_its_startup_is_not_asked_to_stop(turns: int) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        await wait_for_turns(turns)

    lifespan = Lifespan(app, "auto", {})
    await lifespan.startup()
    await wait_for_turns(turns + 1)
    async with asyncio.timeout(2):
        await lifespan.shutdown()


async def test_a_failure_that_is_reported_before_the_shutdown_leaves_the_last_word_to_the_application(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # as Starlette does it
        await receive()
        await send(STARTED)
        try:
            raise LookupError("the poller died")
        except LookupError:
            await send({"type": "lifespan.shutdown.failed", "message": "a traceback"})
            raise

    lifespan = Lifespan(app, "on", {})
    await lifespan.startup()
    await lifespan.shutdown()
    [record] = caplog.records
    assert record.getMessage() == "the application's lifespan ended early"
    assert record.exc_info is not None
    assert "".join(traceback.format_exception(record.exc_info[1])).endswith("LookupError: the poller died\n")


async def test_a_failure_that_is_reported_before_the_shutdown_and_not_raised_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        await send({"type": "lifespan.shutdown.failed", "message": "the poller died"})

    lifespan = Lifespan(app, "on", {})
    await lifespan.startup()
    await wait_for_turns(2)
    await lifespan.shutdown()
    assert [record.getMessage() for record in caplog.records] == [
        "the application's lifespan ended early: the poller died"
    ]


@pytest.mark.parametrize("from_outside", [True, False])
async def test_only_an_application_that_cancels_its_lifespan_itself_is_told_of(
    from_outside: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send(STARTED)
        if not from_outside:
            raise asyncio.CancelledError
        await receive()

    lifespan = Lifespan(app, "on", {})
    await lifespan.startup()
    await wait_for_turns(2)
    await end_other_tasks()  # as asyncio.Runner does
    assert len(caplog.records) == (0 if from_outside else 1)


@MODES
async def test_a_shutdown_that_fails_instead_of_the_startup_is_a_failed_start(mode: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "lifespan.shutdown.failed", "message": "no database"})

    with pytest.raises(StartupError) as caught:
        await Lifespan(app, mode, {}).startup()
    assert caught.value.detail == "no database"


class CustomExit(BaseException):
    """What some libraries end a program with."""


@MODES
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, CustomExit])
async def test_an_application_that_wants_to_exit_at_its_startup_has_failed(
    mode: str, error: type[BaseException]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise error("no settings")

    with pytest.raises(StartupError, match="start-up failed") as caught:
        await Lifespan(app, mode, {}).startup()
    assert f"{error.__name__}: no settings" in caught.value.detail
    assert "corehttp/worker/lifespan.py" not in caught.value.detail


async def wait_for_turns(turns: int) -> None:
    """Let the event loop turn so many times."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def end_other_tasks() -> None:
    """Cancel what an application has left running."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
