"""How several callers wait for the same thing, while each of them may be cancelled."""

import asyncio

Waiters = list[asyncio.Future[None]]


async def wait_among(waiters: Waiters) -> None:
    """Wait until `wake_all` is called with these waiters; one that is cancelled does not stay among them.

    An application that only asks whether its client is still there cancels each of its waits.
    """
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiters.append(waiter)
    try:
        await waiter
    except asyncio.CancelledError:
        waiters.remove(waiter)
        raise


def wake_all(waiters: Waiters) -> None:
    """End all waits among these waiters, which are not to be used any more."""
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
