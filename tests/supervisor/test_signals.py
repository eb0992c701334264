"""Signals as bytes on a descriptor."""

import os
import select
import signal

from corehttp.supervisor.signals import SignalPipe


def test_a_signal_can_be_read_and_the_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with SignalPipe() as pipe:
        os.kill(os.getpid(), signal.SIGTERM)
        select.select([pipe], [], [], 5)
        assert pipe.read() == [signal.SIGTERM]
        assert pipe.read() == []
    assert signal.getsignal(signal.SIGTERM) is before
