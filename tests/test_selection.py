"""What `make check` runs of the end-to-end tests: some of each module, so that it touches every feature."""

from pathlib import Path

import pytest

E2E = Path(__file__).parent / "e2e"
# Modules of which no test is quick enough, and where it tests the same in another way.
LEFT_OUT = {
    "test_autobahn": "protocols/websocket/test_frames.py",
    "test_counting": "worker/test_counting.py",
    "test_load": "e2e/test_spreading.py",
    "test_many_hosts": "e2e/test_many_machines.py",
    "test_redis_examples": "e2e/test_many_machines.py",
    "test_network": "protocols/http1/test_leaving.py",
    "test_versions": "ipc/test_messages.py",
}


@pytest.mark.parametrize("module", sorted(path.stem for path in E2E.glob("test_*.py")))
def test_each_feature_is_touched_end_to_end_before_a_commit(module: str) -> None:
    text = (E2E / f"{module}.py").read_text()
    marked = "pytest.mark.feature" in text or "varied(" in text
    assert marked != (module in LEFT_OUT), "mark its quickest tests with pytest.mark.feature: make check runs those"


@pytest.mark.parametrize("module", sorted(LEFT_OUT))
def test_what_is_left_out_is_tested_in_another_way(module: str) -> None:
    assert (E2E / f"{module}.py").exists()
    assert (E2E.parent / LEFT_OUT[module]).exists()
