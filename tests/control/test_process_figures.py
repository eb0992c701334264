"""What the kernel tells of processes."""

import os
import sys
import time

import pytest

from corehttp.control.process_figures import Measurement, figures

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")


def test_a_process_that_runs_has_time_and_memory_and_others_are_left_out() -> None:
    found = figures([os.getpid(), 1 << 30])
    assert list(found) == [os.getpid()]
    assert 2**20 < found[os.getpid()].rss_bytes < 2**34
    assert found[os.getpid()].cpu_seconds == pytest.approx(time.process_time(), abs=1.0)


def test_the_figures_of_a_service_are_added_to_what_it_says() -> None:
    workers: list[dict[str, object]] = [{"pid": os.getpid()}, {"pid": None}, {"pid": 1 << 30}]
    service: dict[str, object] = {"pid": os.getppid(), "workers": workers}
    measurement = Measurement(time.process_time)  # so that this process has used a whole CPU, however busy the machine
    measurement.add_to([service, {"pid": None}])
    assert "cpu_percent" not in workers[0], "one look tells no use of CPUs"
    began = time.process_time()
    while time.process_time() < began + 0.2:
        pass
    measurement.add_to([service])
    rss = workers[0]["rss_bytes"]
    assert isinstance(rss, int)
    total = service["rss_bytes"]
    assert isinstance(total, int)
    assert total > rss > 2**20
    share = workers[0]["cpu_percent"]
    assert isinstance(share, float)
    assert 80 <= share <= 120
    assert workers[1:] == [{"pid": None}, {"pid": 1 << 30}]


def test_what_is_no_process_has_no_figures() -> None:
    services: list[dict[str, object]] = [{"pid": None}, {"pid": "7", "workers": 5}, {"workers": [3, {"pid": -1}]}]
    Measurement().add_to(services)
    assert [service["rss_bytes"] for service in services] == [None, None, None]
