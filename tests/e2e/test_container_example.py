"""The words of the Dockerfile in the examples, run without Docker: its command serves, its health check tells of it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Start
from tests.kit.server_process import PACKAGE, PATIENCE
from tests.kit.verbs import environment

pytestmark = pytest.mark.e2e

DOCKERFILE = (PACKAGE / "examples" / "docker" / "Dockerfile").read_text()


def words(instruction: str) -> list[str]:
    """The words of an instruction in its JSON form."""
    [found] = re.findall(rf"^{instruction}\b.*?(\[.*\])$", DOCKERFILE, re.MULTILINE)
    command: list[str] = json.loads(found)
    return command


@pytest.mark.feature
def test_the_command_serves_and_the_health_check_says_whether_it_does(
    start: Start, tmp_path: Path, runtime: Path
) -> None:
    (tmp_path / "main.py").write_text((PACKAGE / "examples" / "hello.py").read_text())
    program, *arguments = words("CMD")
    assert program == "corehttp"
    arguments = [word.replace(":9100", ":0") for word in arguments]
    server = start(*arguments, "--port", "0", env=environment(runtime))
    [admin] = server.wait_for_log(r"the admin listener serves on http://127.0.0.1:(\d+) ").groups()

    def healthy() -> bool:
        python, *check = (word.replace(":9100", f":{admin}") for word in words("HEALTHCHECK"))
        assert python == "python"
        return subprocess.run([sys.executable, *check], timeout=PATIENCE, capture_output=True).returncode == 0

    assert healthy()
    assert httpx.get(f"http://127.0.0.1:{server.port}/", timeout=PATIENCE).text == "Hello, world!"
    assert server.stop() == 0
    assert not healthy()
