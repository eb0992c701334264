"""Socket activation: which descriptors systemd has passed, by which names, and what a bind takes of them."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from corehttp.sockets import listening, steering
from corehttp.sockets.accept_queue import AcceptQueue
from corehttp.sockets.activation import passed
from tests.kit.listening import bind, connect, refusal

SETTING = "FileDescriptorName= in the socket unit"
GIVEN = {"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:admin"}

# Passes two sockets as systemd does, beginning with descriptor 3, and prints what the binds given become.
PROGRAM = """
import os, socket, sys
ours = [socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))]
for number, sock in enumerate(ours):
    os.dup2(os.dup(sock.fileno()), 100 + number)
for number in range(len(ours)):
    os.dup2(100 + number, 3 + number)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:admin"}
from corehttp.config import Config
from corehttp.errors import StartupError
from corehttp.sockets import listening
from corehttp.sockets.endpoint import endpoints
try:
    [socks] = listening.bind(endpoints(Config(bind=sys.argv[1:])), 1, reuseport=True)
    print(*((sock.fileno(), sock.endpoint, sock.get_inheritable()) for sock in socks), "LISTEN_PID" in os.environ)
except StartupError as error:
    print(error)
"""


def test_each_descriptor_has_its_name_and_the_variables_are_removed() -> None:
    env = {**GIVEN, "HOME": "/"}
    assert passed(env, 7) == [("web", 3), ("admin", 4)]
    assert env == {"HOME": "/"}


@pytest.mark.parametrize("names", ["", "web", "web:"])
def test_a_descriptor_without_a_name_is_called_unknown(names: str) -> None:
    assert passed({**GIVEN, "LISTEN_FDNAMES": names}, 7)[1] == ("unknown", 4)


@pytest.mark.parametrize(
    "env",
    [{}, {**GIVEN, "LISTEN_PID": "8"}, {**GIVEN, "LISTEN_FDS": "x"}, {**GIVEN, "LISTEN_FDS": "9" * 9}],
)
def test_what_is_not_for_this_process_is_left_alone(env: dict[str, str]) -> None:
    before = dict(env)
    assert passed(env, 7) == []
    assert env == before


@pytest.mark.parametrize(
    ("binds", "expected"),
    [
        (["systemd:admin", "systemd:web"], "(4, 0, False) (3, 1, False) False"),
        (["systemd:"], "(3, 0, False) (4, 0, False) False"),
        (
            ["systemd:other"],
            f"bind systemd:other: no socket has that name ({SETTING}); those of systemd are called web, admin",
        ),
    ],
)
def test_binds_take_sockets_by_their_names(binds: list[str], expected: str) -> None:
    command = [sys.executable, "-c", PROGRAM, *binds]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert told.stdout == f"{expected}\n"


def test_without_systemd_a_bind_says_what_to_do(opened: contextlib.ExitStack) -> None:
    assert refusal(opened, port=8000, bind=["systemd:web"]).startswith(
        "bind systemd:web: systemd has passed no socket to this process (LISTEN_FDS, LISTEN_PID); start the service"
    )


def test_an_abstract_name_is_bound_once_and_refuses_at_a_stop(opened: contextlib.ExitStack) -> None:
    name = f"corehttp-test-{os.getpid()}"
    [[sock]] = bind(opened, port=8000, bind=[f"unix:@{name}"])
    assert listening.url(sock) == f"unix:@{name}"
    assert refusal(opened, port=8000, bind=[f"unix:@{name}"]) == (
        f"unix:@{name} is in use; stop the other server or choose another name"
    )
    listening.listen(sock, 5)
    opened.enter_context(connect(sock))
    steering.refuse_new(sock)
    with pytest.raises(ConnectionRefusedError):
        connect(sock)
    queue = AcceptQueue(sock)
    queue.take().close()  # who waits is still accepted
    with pytest.raises(BlockingIOError):
        queue.take()
