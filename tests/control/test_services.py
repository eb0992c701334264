"""How a running service is found and chosen, and what an operator reads where none can be."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from corehttp.control import socket_path
from corehttp.control.client import VerbError, VerbExit, ask
from corehttp.control.services import Selector, choose, find, of_each

UID = os.geteuid()
Serve = Callable[..., str]


@pytest.fixture
def serve(directory: Path) -> Iterator[Serve]:
    """Has sockets in the user's directory; each answers every client with the same bytes."""
    with ExitStack() as stack:
        ending = threading.Event()

        def answer_all(sock: socket.socket, answer: bytes) -> None:
            while not ending.is_set():
                client, _ = sock.accept()
                with client, suppress(BrokenPipeError):  # whoever has seen enough does not wait for all answers
                    if client.recv(65536):  # nothing comes from who only looks whether somebody listens
                        client.sendall(answer)

        def end(path: str, thread: threading.Thread) -> None:
            ending.set()
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
            thread.join()

        def serve(file: str, answer: bytes) -> str:
            (directory / "corehttp").mkdir(mode=0o700, exist_ok=True)
            path = str(directory / "corehttp" / file)
            sock = stack.enter_context(socket_path.bind(path, 0o600, None))
            sock.setblocking(True)
            thread = threading.Thread(target=answer_all, args=(sock, answer))
            thread.start()
            stack.callback(end, path, thread)
            return path

        yield serve


def hello(name: str, pid: int) -> bytes:
    said = {"kind": "result", "name": name, "pid": pid, "state": "serving", "addresses": [f"http://{name}"]}
    return json.dumps(said).encode() + b"\n"


def env(directory: Path, **more: str) -> dict[str, str]:
    return {"XDG_RUNTIME_DIR": str(directory), "TMPDIR": str(directory / "tmp"), **more}


def chosen(directory: Path, selector: Selector) -> str:
    return choose(selector, env(directory), UID)


def refused(directory: Path, selector: Selector) -> str:
    with pytest.raises(VerbError) as caught:
        chosen(directory, selector)
    assert caught.value.code is VerbExit.NO_SERVICE
    return str(caught.value)


def test_sockets_on_which_somebody_listens_are_found_once_each(directory: Path, serve: Serve) -> None:
    live = serve("a-1.sock", b"")
    (directory / "corehttp" / "b-2.sock").symlink_to(live)
    (directory / "corehttp" / "c-3.sock").symlink_to("nowhere")
    (directory / "corehttp" / "notes.txt").touch()
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(directory / "corehttp" / "d-4.sock"))
    dead.close()
    assert [path for path in find(env(directory), UID)[0] if path.startswith(str(directory))] == [live]


def test_a_directory_that_is_not_safe_is_passed_over_and_named(directory: Path, serve: Serve) -> None:
    serve("a-1.sock", b"")
    (directory / "corehttp").chmod(0o777)
    paths, faults = find(env(directory), UID)
    assert not [path for path in paths if path.startswith(str(directory))]
    assert faults[0] == f"{directory}/corehttp is open to others; its permissions must be 700"


def test_the_only_service_needs_no_selector(directory: Path, serve: Serve) -> None:
    path = serve("a-1.sock", hello("a", 1))
    assert chosen(directory, Selector()) == path
    assert chosen(directory, Selector(socket="/elsewhere")) == "/elsewhere"


def test_name_and_pid_choose(directory: Path, serve: Serve) -> None:
    one, two = serve("a-1.sock", hello("a", 1)), serve("b-2.sock", hello("b", 2))
    assert chosen(directory, Selector(name="b")) == two
    assert chosen(directory, Selector(pid=1)) == one
    assert chosen(directory, Selector(name="a", pid=1)) == one
    candidates = "\n  a  pid 1  serving  http://a\n  b  pid 2  serving  http://b"
    both = refused(directory, Selector())
    assert both == f"there is more than one service; choose by --name or --pid:{candidates}"
    assert refused(directory, Selector(name="c")) == f"no service named c of this user runs; there are:{candidates}"
    nobody = refused(directory, Selector(name="a", pid=2))
    assert nobody == f"no service named a with pid 2 of this user runs; there are:{candidates}"


def test_one_that_does_not_answer_is_known_by_its_file(directory: Path, serve: Serve) -> None:
    serve("a-1.sock", hello("a", 1))
    mute = serve("shop-8000-77.sock", b"not JSON\n")
    assert chosen(directory, Selector(name="shop-8000", pid=77)) == mute


def test_one_that_is_busy_with_others_is_called_so(directory: Path, serve: Serve) -> None:
    busy = b'{"kind": "error", "fault": "busy", "reason": "16 clients are connected already"}\n'
    serve("a-1.sock", busy)
    serve("b-2.sock", b"")
    said = refused(directory, Selector(name="c"))
    assert "\n  a  pid 1  busy: 16 clients are connected already  " in said
    assert "\n  b  pid 2  no answer: the service has closed the connection" in said


def test_one_that_is_stuck_does_not_hold_up_the_choice_of_another(
    directory: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("corehttp.control.services.HELLO_SECONDS", 0.25)
    path = serve("a-1.sock", hello("a", 1))
    with socket_path.bind(str(directory / "corehttp" / "b-2.sock"), 0o600, None) as stuck:
        assert chosen(directory, Selector(name="a")) == path
        assert chosen(directory, Selector(pid=2)) == stuck.getsockname()
        both = refused(directory, Selector())
        assert "\n  b  pid 2  no answer: the service has not answered within 0.25 s; is it stopped?  " in both


def test_stuck_ones_are_waited_for_together() -> None:
    together = threading.Barrier(10)  # raises an error unless all ten wait at once

    def tell(path: str) -> dict[str, object]:
        together.wait(60)
        return {"name": path}

    paths = [str(number) for number in range(10)]
    assert of_each(paths, tell) == [{"name": path} for path in paths]


def test_without_any_service_it_says_so(directory: Path) -> None:
    assert refused(directory, Selector()).startswith("no service of this user runs")


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        (b"", VerbExit.FAILED, "the service has closed the connection before it had done what was asked for"),
        (b"garbage\n", VerbExit.FAILED, "what answers there is no corehttp, or one that is too new"),
        (b'{"kind": "error", "fault": "refused", "reason": "no"}\n', VerbExit.FAILED, "no"),
        (b'{"kind": "error", "fault": "usage", "reason": "what?"}\n', VerbExit.USAGE, "what?"),
        (b'{"kind": "error", "fault": "forbidden", "reason": "you?"}\n', VerbExit.NOT_PERMITTED, "you?"),
        (b'{"kind": "error", "fault": "new"}\n', VerbExit.FAILED, "the service gives no reason"),
        (b'{"kind": "progress"}\n{"kind": "new"}\n', VerbExit.FAILED, "the service has closed the connection"),
    ],
)
def test_every_answer_has_its_exit_code(serve: Serve, answer: bytes, code: VerbExit, reason: str) -> None:
    with pytest.raises(VerbError, match=f"^{reason}".replace("?", r"\?")) as caught:
        ask(serve("a-1.sock", answer), "status")
    assert caught.value.code is code


def test_progress_is_passed_on_and_the_result_returned(serve: Serve) -> None:
    lines = b'{"kind": "progress", "text": "half"}\n{"kind": "new"}\n{"kind": "result", "text": "whole"}\n'
    seen: list[object] = []
    answer = ask(serve("a-1.sock", lines), "reload", on_progress=lambda line: seen.append(line["text"]))
    assert (seen, answer) == (["half"], {"text": "whole"})


def test_a_service_that_takes_nobody_in_is_not_waited_for(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corehttp.control.client.ANSWER_SECONDS", 0.05)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(directory / "a.sock"))
        sock.listen(0)
        path = str(directory / "a.sock")
        with pytest.raises(VerbError, match=r"^the service has not answered within 0.05 s; is it stopped\?$") as caught:
            ask(path, "status")
        assert caught.value.code is VerbExit.TIMED_OUT
        # Who has left waits in the queue all the same, and now there is no room for another one.
        with pytest.raises(VerbError, match=r"takes nobody in; is it stopped\?$") as caught:
            ask(path, "status")
        assert caught.value.code is VerbExit.TIMED_OUT


def test_root_finds_services_that_have_become_another_users(directory: Path) -> None:
    temporary = directory / "tmp"
    temporary.mkdir()
    with ExitStack() as stack:
        paths = {}
        for owner, mode in ((12345, 0o700), (12346, 0o755), (12347, 0o700)):
            (temporary / f"corehttp-{owner}").mkdir(mode=mode)
            paths[owner] = str(temporary / f"corehttp-{owner}" / "shop-1.sock")
            stack.enter_context(socket_path.bind(paths[owner], 0o600, None)).listen()
            os.chown(temporary / f"corehttp-{owner}", owner if owner != 12347 else 1, -1)
        found, faults = find(env(directory), 0)
        assert found == [paths[12345]]
        assert [fault.partition(" ")[2] for fault in faults] == [
            "is open to others; its permissions must be 700",
            "belongs to uid 1",
        ]
        assert choose(Selector(), env(directory), 0) == paths[12345]
        assert find(env(directory), 7)[0] == []
