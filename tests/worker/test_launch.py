"""How the program of a worker imports what it runs."""

import subprocess
import sys

import pytest

SCRIPT = """
import gc, sys, types
{first}
from corehttp.worker import launch
program = types.ModuleType("program")
program.main = lambda fd: print(fd, gc.isenabled(), gc.get_freeze_count() > 1000) or 7
sys.modules["program"] = program
sys.argv = ["launch.py", "program", "5", "title"]
sys.exit(launch.main())
"""


@pytest.mark.parametrize(("first", "enabled"), [("", True), ("gc.disable()", False)])
def test_what_is_imported_is_never_looked_through_for_garbage_and_the_rest_is_as_before(
    first: str, enabled: bool
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(first=first)], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (7, f"5 {enabled} True\n")
