"""What is to happen once the callbacks of the current turn of the event loop have run."""

import asyncio
import contextvars
from collections.abc import Callable


class TurnEnd:
    """Calls what was added in a turn of the event loop at the beginning of the next one, for all connections at once.

    One `call_soon` serves all, as a callback of the event loop takes 0.2 us, and many responses may be sent in a turn.
    """

    __slots__ = ("_calls", "_context", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # A callback in the context of a request would keep that context alive.
        self._context = contextvars.copy_context()
        self._calls: list[Callable[[], None]] = []

    def add(self, call: Callable[[], None]) -> None:
        """Have `call` called once. If it raises, the event loop reports that, and the other calls come a turn later."""
        if not self._calls:
            self._loop.call_soon(self._run, context=self._context)
        self._calls.append(call)

    def _run(self) -> None:
        calls, self._calls = self._calls, []
        left = iter(calls)
        try:
            for call in left:
                call()
        finally:
            for call in left:  # there are none, unless one has raised: it must not cost other connections theirs
                self.add(call)
