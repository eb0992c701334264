"""CPU-bound work in a FastAPI application: on the event loop, where it holds up everybody, and in three better places.

Run it: python -m corehttp examples.cpu_bound:app --workers 2
`docs/work.md` says which place is for what, and `python -m benchmarks.blocking` measures them.
"""

import asyncio
import multiprocessing
import os
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from typing import Annotated

from anyio import CapacityLimiter, to_process, to_thread
from fastapi import FastAPI, Path, Request

from examples.primes import count_primes, count_primes_in_helper

Below = Annotated[int, Path(ge=0, le=100_000_000)]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
    """A pool of processes for this worker: at its end the pool finishes what it has begun, and drops what waits."""
    # "spawn", since a fork of a process with threads, as each worker is, may hang (Python's documentation of `fork`).
    method = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(max_workers=1, mp_context=method)
    yield {"pool": pool, "limit": CapacityLimiter(1)}
    await asyncio.to_thread(pool.shutdown, cancel_futures=True)


app = FastAPI(title="CPU-bound work", lifespan=lifespan)


def answer(primes: int) -> dict[str, int]:
    return {"primes": primes, "worker": os.getpid()}


@app.get("/loop/{below}")
async def on_the_loop(below: Below) -> dict[str, int]:
    """Hold up every other request of this worker for as long as it takes."""
    return answer(count_primes(below))


@app.get("/thread/{below}")
async def in_a_thread(below: Below) -> dict[str, int]:
    """Share one core with the event loop, which gets its turn every 5 ms."""
    return answer(await to_thread.run_sync(count_primes, below))


@app.get("/process/{below}")
async def in_a_process(request: Request, below: Below) -> dict[str, int]:
    """Use another core. The process is made when it is needed, and killed if this request is cancelled."""
    return answer(
        await to_process.run_sync(count_primes_in_helper, below, cancellable=True, limiter=request.state.limit)
    )


@app.get("/pool/{below}")
async def in_the_pool(request: Request, below: Below) -> dict[str, int]:
    """Use another core, in a process that is there already. What it has begun cannot be cancelled."""
    loop = asyncio.get_running_loop()
    return answer(await loop.run_in_executor(request.state.pool, count_primes_in_helper, below))
