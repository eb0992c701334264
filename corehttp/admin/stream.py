"""Server-sent events for the dashboard: what was recorded, and then once a second how the service is."""

import asyncio
import json

from corehttp.admin import pages
from corehttp.admin.pages import send_head, send_page
from corehttp.admin.recorder import Recorder
from corehttp.asgi import Receive, Send

STREAMS = 16  # how many may look at once
_FULL = pages.text(503, f"{STREAMS} pages look already.", fields=((b"retry-after", b"10"),))


class EventStream:
    """Sends what a recorder has to those who look."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._open = 0
        self._made: tuple[object, bytes] = (None, b"")  # the last sample, and what is sent with it

    async def send_to(self, receive: Receive, send: Send, *, head_only: bool) -> None:
        """Send events until the client leaves, or is told to."""
        if self._open >= STREAMS:
            await send_page(_FULL, send)
            return
        await send_head(200, "text/event-stream", send, (b"x-accel-buffering", b"no"))
        if head_only:
            await send({"type": "http.response.body"})
            return
        self._open += 1
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            past = self._recorder.events()
            await _send(send, b"retry: 2000\n\n", _event("history", list(self._recorder.samples)), _event("past", past))
            while not gone.done():
                await _send(send, self._now())
                if (newer := self._recorder.events()) != past:
                    past = newer
                    await _send(send, _event("past", past))
                await asyncio.wait([gone, self._recorder.next_look()], return_when=asyncio.FIRST_COMPLETED)
            await send({"type": "http.response.body"})
        finally:
            self._open -= 1
            gone.cancel()

    def _now(self) -> bytes:
        """Return the event for the last look, which is made once for all who look."""
        last = self._recorder.samples[-1] if self._recorder.samples else None
        if self._made[0] is not last or last is None:
            self._made = last, _event("now", self._recorder.now())
        return self._made[1]


def _event(name: str, content: object) -> bytes:
    return f"event: {name}\ndata: {json.dumps(content, separators=(',', ':'))}\n\n".encode()


async def _send(send: Send, *parts: bytes) -> None:
    await send({"type": "http.response.body", "body": b"".join(parts), "more_body": True})


async def _disconnected(receive: Receive) -> None:
    """Return when the client has left, or is to leave."""
    while (await receive())["type"] != "http.disconnect":
        pass
