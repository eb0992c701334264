"""What is imported is not looked through for garbage; afterwards the collector works as it did before."""

import gc
import importlib
import subprocess
import sys

import pytest

from corehttp.garbage import uncollected

SCRIPT = """
import gc
from corehttp.garbage import uncollected
with uncollected(owns_process={owns_process}):
    print(gc.isenabled())
print(gc.isenabled(), gc.get_freeze_count() > 1000)
"""


@pytest.mark.parametrize("owns_process", [True, False])
def test_only_a_process_of_the_server_alone_keeps_for_good_what_exists_then(owns_process: bool) -> None:
    script = SCRIPT.format(owns_process=owns_process)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == f"False\nTrue {owns_process}\n"


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was_also_after_a_failure(enabled: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with pytest.raises(ImportError), uncollected(owns_process=False):
            importlib.import_module("corehttp.nonesuch")
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()
