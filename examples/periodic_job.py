"""A job that runs in one worker of the service, every minute, also over reloads and after the death of that worker.

Run it: python -m corehttp examples.periodic_job:app --workers 4
JOB_FILE is where the job writes when it has begun and ended, JOB_EVERY the seconds between two runs.
"""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

from corehttp import worker

FILE = Path(os.environ.get("JOB_FILE", "job.log"))
EVERY = float(os.environ.get("JOB_EVERY", "60"))

logger = logging.getLogger(__name__)


async def job() -> None:
    """Stand for the work: it takes a moment, and may be cancelled at each `await` when another worker is to lead."""
    note("began")
    try:
        await asyncio.sleep(min(EVERY, 0.1))
    finally:
        note("ended")


def note(what: str) -> None:
    with FILE.open("a") as file:
        file.write(f"{what} {os.getpid()}\n")


def seconds_left() -> float:
    """The time until the next run. It is kept outside of the workers, so that a reload does not begin it anew."""
    try:
        return max(0.0, FILE.stat().st_mtime + EVERY - time.time())
    except FileNotFoundError:
        return 0.0


async def run_for_ever() -> None:
    while True:
        async with worker.leadership():  # waits until this worker leads; cancels the body when it does no more
            while True:
                await asyncio.sleep(seconds_left())
                try:
                    await job()
                except Exception:
                    logger.exception("the job has failed, and is tried again in %g s", EVERY)
                    await asyncio.sleep(EVERY)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        jobs = tasks.create_task(run_for_ever())
        yield
        jobs.cancel()


app = FastAPI(title="A periodic job", lifespan=lifespan)


@app.get("/")
async def who() -> dict[str, object]:
    return {"worker": worker.id, "leads": worker.is_leader}
