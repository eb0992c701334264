"""Signals as marks that wake up whoever waits, and those that nobody uses."""

import os
import select
import signal
import subprocess
import sys

import pytest

from corehttp import unused_signals
from corehttp.supervisor.signals import HANDLED, MOST, SignalPipe, held_back


def test_a_signal_can_be_read_and_the_handlers_are_put_back() -> None:
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    with SignalPipe() as pipe:
        os.kill(os.getpid(), signal.SIGTERM)
        select.select([pipe], [], [], 5)
        assert pipe.read() == [signal.SIGTERM]
        assert pipe.read() == []
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before


LAST_MOMENTS = """
import signal
from corehttp import unused_signals
from corehttp.supervisor.signals import SignalPipe
with SignalPipe(owns_process=True):
    pass
for number in unused_signals.unused(()):
    signal.raise_signal(number)
"""


def test_at_the_end_of_the_process_no_signal_changes_its_exit_code_any_more() -> None:
    run = subprocess.run([sys.executable, "-c", LAST_MOMENTS], timeout=60)
    assert run.returncode == 0


DURING_THE_START = """
import signal
from corehttp.supervisor.signals import SignalPipe, held_back
with held_back(owns_process=True):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.raise_signal(number)
    if TAKEN:
        with SignalPipe(owns_process=True) as pipe:
            assert sorted(pipe.read()) == [signal.SIGHUP, signal.SIGINT, signal.SIGTERM]
    print("the end")
"""


@pytest.mark.parametrize("taken", [True, False])
def test_a_signal_during_the_start_waits_until_it_is_taken_or_the_start_has_failed(taken: bool) -> None:
    code = DURING_THE_START.replace("TAKEN", str(taken))
    run = subprocess.run([sys.executable, "-c", code], timeout=60, capture_output=True, text=True)
    assert (run.returncode == 0) is taken, run.stderr
    assert run.stdout == "the end\n" or not taken


def test_a_program_that_embeds_the_server_has_its_signals_as_they_are() -> None:
    with held_back(owns_process=False):
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_no_flood_of_signals_hides_another_and_none_grows_without_end() -> None:
    with SignalPipe() as pipe:
        for _ in range(20_000):
            signal.raise_signal(signal.SIGCHLD)
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGTERM)
        assert select.select([pipe], [], [], 5)[0]
        assert pipe.read() == [signal.SIGCHLD] * MOST + [signal.SIGUSR1, signal.SIGTERM]
        assert not select.select([pipe], [], [], 0)[0]


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGRTMIN", "SIGRTMAX"])
def test_a_signal_that_nobody_uses_does_not_end_the_process(name: str) -> None:
    with SignalPipe() as pipe:
        signal.raise_signal(signal.Signals[name])
        assert pipe.read() == [signal.Signals[name]]


def test_what_ends_a_process_by_default_is_used_ignored_or_a_fault() -> None:
    unused = {unused_signals.name(number) for number in unused_signals.unused(HANDLED)}
    assert {"SIGUSR1", "SIGALRM", "SIGPIPE", "SIGPROF", "SIGIO", "SIGXCPU", "SIGRTMIN", "SIGRTMIN+3"} <= unused
    assert not unused & {"SIGKILL", "SIGSTOP", "SIGSEGV", "SIGABRT", "SIGTERM", "SIGCHLD", "SIGTSTP"}


def test_what_somebody_else_handles_or_ignores_stays_as_it_is() -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        handlers = unused_signals.ignore(HANDLED)
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN  # by Python itself
        unused_signals.restore(handlers)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


IGNORING = """
import os, signal, subprocess, sys
from corehttp import unused_signals
unused_signals.ignore((signal.SIGTERM, signal.SIGINT))
for _ in range(100):
    signal.raise_signal(signal.SIGUSR1)
pid = os.fork()
if not pid:
    signal.raise_signal(signal.SIGUSR1)
    os._exit(0)
forked = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
started = subprocess.call([sys.executable, "-c", "import signal; signal.raise_signal(signal.SIGALRM)"])
print(forked, started)
"""


def test_it_is_told_once_and_what_the_process_forks_or_starts_has_the_defaults_again() -> None:
    run = subprocess.run([sys.executable, "-c", IGNORING], capture_output=True, text=True, check=True)
    assert run.stdout == f"{-signal.SIGUSR1} {-signal.SIGALRM}\n"
    assert run.stderr == "SIGUSR1: ignored, nothing here uses it\n"
