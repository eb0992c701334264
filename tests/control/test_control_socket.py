"""The listening socket: opened where it was asked for, handed on, and removed by its last owner alone."""

import json
import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from corehttp.control.control_socket import VARIABLE, ControlSocket, inherited, open_for
from corehttp.errors import StartupError

WISH = ("auto", "shop", "")


def env(directory: Path, **more: str) -> Mapping[str, str]:
    return {"XDG_RUNTIME_DIR": str(directory), "TMPDIR": str(directory), **more}


def opened(directory: Path, control: str = "auto", name: str = "shop", **more: str) -> ControlSocket:
    found = open_for(control, name, env(directory, **more), WISH, None)
    assert found is not None
    return found


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.rglob("*") if not path.is_dir())


def handed_on(sock: ControlSocket) -> str:
    """What a successor finds in its environment; it has a copy of the descriptor."""
    variables, [fd] = sock.bequeath()
    content = json.loads(variables[VARIABLE])
    assert content[0] == fd
    return json.dumps([os.dup(fd), *content[1:]])


def test_off_and_no_place_are_no_socket(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "corehttp.supervisor")
    assert open_for("off", "shop", env(directory), WISH, None) is None
    assert not caplog.records
    nowhere = directory / "nowhere"
    assert open_for("auto", "shop", env(nowhere, RUNTIME_DIRECTORY=str(nowhere)), WISH, None) is None
    [line] = [f"{record.levelname} {record.getMessage()}" for record in caplog.records]
    assert line.startswith(f"DEBUG there is no control socket: {nowhere} is no directory of ours: No such file")
    assert line.count("; ") == 2


def test_two_services_have_each_their_own(directory: Path) -> None:
    runtime = directory / "run"
    runtime.mkdir(0o755)
    one = opened(directory, RUNTIME_DIRECTORY=str(runtime))
    two = opened(directory, name="blog", RUNTIME_DIRECTORY=str(runtime))
    assert one.path == str(runtime / "control.sock")
    assert two.path == str(directory / "corehttp" / f"blog-{os.getpid()}.sock"), "a live one is not taken"
    two.close()
    assert names(directory) == ["control.sock", f"shop-{os.getpid()}.sock"]
    one.close()
    one.close()
    assert names(directory) == []


def test_a_path_gets_a_link_by_which_it_is_found(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "corehttp.supervisor")
    path = directory / "c.sock"
    sock = opened(directory, str(path))
    assert os.readlink(directory / "corehttp" / f"shop-{os.getpid()}.sock") == str(path)
    sock.close()
    assert names(directory) == []
    sock = opened(directory / "nowhere", str(path))
    assert f"only --socket {path} leads to this service" in caplog.text
    sock.close()


def test_a_path_that_cannot_be_had_is_an_error_that_names_the_option(directory: Path) -> None:
    with pytest.raises(StartupError, match=r"^there is no control socket at .*nowhere/c.sock \(--control\): "):
        open_for(str(directory / "nowhere" / "c.sock"), "shop", env(directory), WISH, None)


def test_only_our_own_file_is_removed(directory: Path) -> None:
    sock = opened(directory)
    os.unlink(sock.path)
    Path(sock.path).touch()
    sock.close()
    assert names(directory) == [os.path.basename(sock.path)]


def test_a_successor_keeps_the_path_when_the_first_owner_ends_and_removes_it_at_its_own_end(directory: Path) -> None:
    first = opened(directory)
    second = inherited(handed_on(first), WISH)
    assert second is not None
    assert second.path == first.path
    assert not os.get_inheritable(second.fileno())
    first.close()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(second.path)
        second.listen()
        second.accept().close()  # the first one has looked whether somebody listens
        second.accept().close()
    with pytest.raises(BlockingIOError):
        second.accept()
    second.close()
    assert names(directory) == []


def test_a_successor_that_ends_first_leaves_the_path(directory: Path) -> None:
    first = opened(directory)
    second = inherited(handed_on(first), WISH)
    assert second is not None
    second.close()
    assert names(directory) == [os.path.basename(first.path)]
    first.close()
    assert names(directory) == []


def test_a_socket_for_other_options_is_not_taken_over(directory: Path) -> None:
    first = opened(directory)
    assert inherited(handed_on(first), ("auto", "blog", "")) is None
    first.close()
    assert names(directory) == []


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1]", '[0, [0, 0], [], [["/a", 1, 2]]]', "[1e9, [0, 0], [], []]"])
def test_what_was_not_left_for_this_process_is_ignored(text: str, caplog: pytest.LogCaptureFixture) -> None:
    assert inherited(text, WISH) is None
    assert "COREHTTP_CONTROL_SOCKET in the environment is ignored: it is not for this process" in caplog.text
