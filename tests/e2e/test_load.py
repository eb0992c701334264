"""Under load nothing fails."""

import re
import shutil
import subprocess

import pytest

from tests.e2e.conftest import Start

pytestmark = pytest.mark.e2e


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_two_seconds_of_load_bring_no_error(start: Start) -> None:
    server = start("examples.read_content:app", "--port", "0", "--workers", "2", "--no-access-log")
    command = ["wrk", "-t1", "-c32", "-d2s", f"{server.url}/read-content"]
    report = subprocess.run(command, capture_output=True, timeout=30, check=True).stdout.decode()
    requests = re.search(r"(\d+) requests in", report)
    assert requests is not None
    assert int(requests.group(1)) > 100
    assert "Socket errors" not in report
    assert "Non-2xx" not in report
    assert server.stop() == 0
    assert " ERROR " not in server.stderr
