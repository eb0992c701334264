"""An event loop that cannot be had is told in words, whichever of its files there is no room for."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")

TRY = """
import asyncio, resource, sys
from corehttp.errors import StartupError
from corehttp.worker.event_loop import loop_factory

make = loop_factory(sys.argv[1])
async def nothing(): ...
with asyncio.Runner(loop_factory=make) as runner:  # so that all is imported
    runner.run(nothing())
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
for limit in range(3, 40):
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
    try:
        with asyncio.Runner(loop_factory=make) as runner:
            runner.run(nothing())
    except StartupError as error:
        print(error)
    else:
        print("runs")
        break
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_loop_runs_or_says_that_there_are_too_few_files(loop: str) -> None:
    command = [sys.executable, "-W", "error", "-c", TRY, loop]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    *refused, last = done.stdout.splitlines()
    assert last == "runs"
    assert len(refused) > 2
    [said] = set(refused)
    assert said.startswith("there can be no event loop: this process has opened all the files that it may; raise `ulim")
    assert not done.stderr
