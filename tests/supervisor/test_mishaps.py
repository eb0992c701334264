"""What goes wrong while the supervisor acts ends that act alone."""

import errno
import itertools
import re

import pytest

from corehttp.ipc.messages import LeaveReason
from corehttp.supervisor.actions import Dump, Exit, LoadTemplate, OpenSlot, Spawn, Steer, Terminate, failed
from corehttp.supervisor.events import SpawnFailed, Steered, TemplateGone, ToldToLeave, WasDumped
from corehttp.supervisor.fleet import Fleet
from corehttp.supervisor.mishaps import survived
from corehttp.supervisor.observe import observe
from corehttp.supervisor.plan import plan


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.EMFILE, "x"), r"raise `ulimit -n` \(LimitNOFILE= in systemd\)"),
        (OSError(errno.ENFILE, "x"), "raise fs.file-max"),
        (BlockingIOError(errno.EAGAIN, "x"), "raise `ulimit -u`"),
        (OSError(errno.ENOMEM, "x"), "there is no memory"),
        (OSError(errno.EIO, "strange"), "strange"),
        (ValueError("a fault of ours"), "Traceback"),
    ],
)
def test_a_fault_is_told_with_what_helps(error: Exception, told: str, caplog: pytest.LogCaptureFixture) -> None:
    def act() -> None:
        raise error

    assert survived("to do it", act) is False
    assert caplog.text.count("to do it has failed") == 1
    assert re.search(told, caplog.text)


def test_what_goes_well_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    assert survived("to do it", lambda: None) is True
    assert caplog.text == ""


def test_what_makes_something_has_failed_and_the_rest_counts_as_done() -> None:
    assert failed(Spawn(1, 2), 0.5) == SpawnFailed(1, 2, 0.5)
    assert failed(LoadTemplate(2), 0.5) == TemplateGone(2, 0.5)
    assert failed(Terminate(7, LeaveReason.STOP), 0.5) == ToldToLeave(7, LeaveReason.STOP)
    assert failed(Dump(7), 0.5) == WasDumped(7)
    assert failed(Steer(frozenset({1})), 0.5) == Steered(frozenset({1}))
    with pytest.raises(AssertionError):
        failed(Exit(Fleet(1).exit_code), 0.5)


def test_slots_that_cannot_be_had_are_tried_again_ever_less_often() -> None:
    fleet = Fleet(1)
    fleet.size = 2
    tries: list[float] = []
    now = 0.0
    while now < 60:
        for action in plan(fleet, now):
            if action == OpenSlot(1):
                tries.append(now)
                observe(fleet, failed(action, 0.0), now)
        now += 0.125
    gaps = [after - before for before, after in itertools.pairwise(tries)]
    assert gaps == sorted(gaps)
    assert gaps[0] == 0.5
    assert max(gaps) == 16.0
