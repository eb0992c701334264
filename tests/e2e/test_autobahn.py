"""The cases of the Autobahn test suite, by which WebSocket servers are compared: no failure, and nothing not strict."""

import os
from pathlib import Path

import pytest
from kosoku import FailureError, run_fuzzingclient

from tests.e2e.conftest import Start
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import PACKAGE, ROOT, ServerProcess

# In sections 12 and 13 the suite leaves its files open.
LEFT_OPEN = "ignore:Exception ignored in. <_io.FileIO name=.*kosoku:pytest.PytestUnraisableExceptionWarning"

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings(LEFT_OPEN)]

# AUTOBAHN="*" also runs sections 12 and 13, on compression, for minutes; or any others: AUTOBAHN="6.* 7.1.1".
CASES = os.environ.get("AUTOBAHN", "1.* 2.* 3.* 4.* 5.* 6.* 7.* 9.* 10.*").split()
PARALLEL = 4
GOOD = {"OK", "INFORMATIONAL"}

# The suite expects everything to be compressed, and takes a ping in a long case of section 12 for its end.
APP = (
    *("tests.e2e.websocket_application:app", "--app-dir", str(ROOT), "--port", "0", "--no-access-log"),
    *("--ws-compression-min-size", "0", "--ws-ping-interval", "0"),
)


# A server is strict in these if it ends the connection within a second of the bytes at fault, by the client's clock.
# On a busy machine it may be late without a fault: such a case is run again, alone.
TIMED = {"6.4.1", "6.4.2", "6.4.3", "6.4.4"}
ATTEMPTS = 5


async def bad_verdicts(server: ServerProcess, cases: list[str], concurrency: int) -> dict[str, tuple[str, str]]:
    try:
        results = await run_fuzzingclient(f"{server.url.replace('http', 'ws')}/echo", cases, concurrency=concurrency)
    except FailureError as error:
        results = error.results
    assert results, "no case has such a number"
    verdicts = {result.case_id: (result.behavior.value, result.behavior_close.value) for result in results}
    return {case: verdict for case, verdict in verdicts.items() if not set(verdict) <= GOOD}


async def check(server: ServerProcess) -> None:
    bad = await bad_verdicts(server, CASES, PARALLEL)
    for _ in range(ATTEMPTS):
        if not bad or not bad.keys() <= TIMED:
            break
        bad = await bad_verdicts(server, sorted(bad), 1)
    assert bad == {}
    assert server.stop() == 0
    assert "Traceback" not in server.stderr


async def test_all_cases_are_passed_strictly(start: Start) -> None:
    server = start(*APP)
    await check(server)


async def test_all_cases_are_passed_without_anything_in_c(start: Start, tmp_path: Path) -> None:
    hidden = tmp_path / "first" / "websockets"  # is found first, and has no unmasking
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").touch()
    path = os.pathsep.join((str(hidden.parent), str(PACKAGE), str(ROOT)))
    arguments = (*APP, "--loop", "asyncio", "--http", "h11", "--ws-compression", "full")
    server = start(*arguments, env={"PYTHONPATH": path})
    with RawConnection(server.port) as client:
        assert client.get("/unmasking")[1] == b"unmask_in_python"
    await check(server)
