"""What is called at the end of a turn of the event loop, and what a call that raises does to the others."""

import asyncio

from corehttp.protocols.turn_end import TurnEnd


def test_a_call_that_raises_is_reported_and_keeps_back_no_other() -> None:
    async def turns() -> list[str]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, fault: called.append(repr(fault["exception"])))
        turn_end = TurnEnd(loop)
        for name in ("first", "faulty", "third", "faulty", "last"):
            turn_end.add(faulty if name == "faulty" else lambda name=name: called.append(name))  # type: ignore[misc]
        assert called == []
        for _ in range(10):  # turns
            await asyncio.sleep(0)
        return called

    def faulty() -> None:
        raise OSError("closed")

    called: list[str] = []
    with asyncio.Runner() as runner:
        error = "OSError('closed')"
        assert runner.run(turns()) == ["first", error, "third", error, "last"]
