"""A child process whose supervisor is of another version, since the package was replaced, says so and ends."""

import os
import struct

import pytest

from corehttp.ipc.codec import dump
from corehttp.ipc.message_stream import encode
from corehttp.ipc.messages import VERSION, Boot, Serve, StartFailed
from corehttp.supervisor import processes
from tests.kit.server_process import until

pytestmark = pytest.mark.e2e


def framed(*payload: object) -> bytes:
    data = dump(payload)
    return struct.pack("!I", len(data)) + data


@pytest.mark.parametrize("module", [processes.WORKER, processes.TEMPLATE])
@pytest.mark.parametrize(
    "said",
    [
        encode(Boot(VERSION + 1, {}, "/", [], [])),
        encode(Boot(VERSION - 1, {}, "/", [], [])),
        framed("boot", {"version": 1, "config": {}, "slot": 0}),
        framed("boot", VERSION, {}, "/", [], [], None, "a field of later"),
        framed("hello"),
        encode(Serve()),
    ],
    ids=["newer", "older", "a boot message of another form", "a further field", "another kind", "no boot message"],
)
def test_a_child_that_does_not_understand_its_supervisor_says_what_to_do(module: str, said: bytes) -> None:
    pid, channel = processes.spawn(module, "a test")
    os.write(channel.fileno(), said)
    heard: list[object] = []

    def ended() -> bool:
        received, gone = channel.receive()
        heard.extend(received)
        return gone

    until(ended, "the end of the child")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    channel.close()
    [message] = heard
    assert isinstance(message, StartFailed)
    assert message.message.endswith(
        "of another version of corehttp than the one installed: restart it, or send it SIGUSR2"
    )
