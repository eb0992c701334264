"""What the log says of a worker's end."""

import signal

import pytest

from corehttp.supervisor.processes import describe_exit


@pytest.mark.parametrize(
    ("code", "oom", "text"),
    [
        (0, False, "exited with code 0"),
        (7, False, "exited with code 7"),
        (-signal.SIGKILL, False, "was killed by SIGKILL"),
        (-signal.SIGSEGV, False, "was killed by SIGSEGV"),
        (-signal.SIGKILL, True, "was killed by SIGKILL: its control group ran out of memory"),
        (-63, False, "was killed by signal 63"),
    ],
)
def test_an_exit_is_told_in_words(code: int, oom: bool, text: str) -> None:
    assert describe_exit(code, oom) == text
