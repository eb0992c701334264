"""A client manager for python-socketio: workers of one service share their clients, without Redis.

    import socketio
    from corehttp.contrib.socketio import BusManager

    sio = socketio.AsyncServer(async_mode="asgi", client_manager=BusManager())
    app = socketio.ASGIApp(sio)

What one worker emits reaches the clients of all workers, with `--bus` those of other machines too, as with
`socketio.AsyncRedisManager`; so do rooms, callbacks and `disconnect`. Delivery is that of `corehttp.bus`. A client must
reach the same worker with each request of long polling, which needs WebSockets alone (`transports=["websocket"]`) or
one worker. Needs python-socketio 5.11 or later.
"""

import logging
from collections.abc import AsyncIterator
from itertools import count

from corehttp import bus
from corehttp.asgi import Unchecked
from corehttp.contrib.pieces import Assembly, cut

try:
    from socketio.async_pubsub_manager import AsyncPubSubManager  # type: ignore[import-untyped]
except ImportError as error:
    raise ImportError("corehttp.contrib.socketio needs the package python-socketio") from error

logger = logging.getLogger("corehttp.error")

QUEUE = 16_384  # the most pieces of messages that wait for this worker


class BusManager(AsyncPubSubManager):  # type: ignore[misc]
    """A client manager that uses `corehttp.bus`.

    Servers share their clients if they have the same `channel`. A message with its data has at most 16 MiB; more is a
    ValueError of `emit`.
    """

    name = "corehttp"

    def __init__(self, channel: str = "socketio", write_only: bool = False, logger: Unchecked = None) -> None:
        super().__init__(channel=channel, write_only=write_only, logger=logger)
        self._numbers = count()

    async def _publish(self, data: dict[str, object]) -> None:
        """Send a message to all workers. Raises ValueError if it is too large."""
        message = self.json.dumps(data).encode()
        for piece in cut(bytes.fromhex(self.host_id), next(self._numbers), message):
            await bus.publish(self.channel, piece)

    async def _listen(self) -> AsyncIterator[str]:
        """Yield the messages of all workers."""
        assembly = Assembly()
        async with bus.subscribe(self.channel, max_queue=QUEUE) as pieces:
            async for piece in pieces:
                if piece.lost:
                    logger.warning("socketio: %d messages of other workers, or more, are lost", piece.lost)
                message = assembly.add(piece.data)
                if message is not None:
                    yield message.decode()
