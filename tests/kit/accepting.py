"""An acceptor that serves while a test runs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from corehttp.protocols.context import WorkerContext
from corehttp.worker.acceptor import Acceptor


@contextlib.asynccontextmanager
async def accepting(acceptor: Acceptor, context: WorkerContext) -> AsyncIterator[WorkerContext]:
    """Let an acceptor accept connections of `context`; at the end nothing of them is left."""
    acceptor.start()
    try:
        yield context
    finally:
        acceptor.close()
        for connection in tuple(context.connections):
            connection.cut()
        while context.connections or not acceptor.done:
            await asyncio.sleep(0)
