"""Log files as an operator has them: renamed, full, not to be had; and no line that is lost, torn or twice there."""

import contextlib
import fcntl
import os
import re
import shlex
import shutil
import signal
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Start
from tests.kit.changing import ChangingApp
from tests.kit.extent import varied
from tests.kit.numbered_requests import NumberedRequests, logged
from tests.kit.server_process import APP, ServerProcess, until, url_in
from tests.kit.verbs import done, environment, verb

pytestmark = pytest.mark.e2e

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk")


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    directory = tmp_path / "logs"
    directory.mkdir()
    return directory


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.feature
@pytest.mark.parametrize("kind", [("--workers", "2"), ("--preload",), ("--no-supervise",)], ids=lambda kind: kind[0])
def test_lines_go_to_the_files_and_nowhere_else(start: Start, logs: Path, kind: tuple[str, ...]) -> None:
    server = start(*APP, *kind, "--log-file", "logs/error.log", "--access-log-file", "logs/access.log", ready=False)
    assert httpx.get(f"{url_in(logs / 'error.log')}/?q=1").status_code == 200
    [line] = until(lambda: lines_of(logs / "access.log"), "the line of the request")
    assert '"GET /?q=1 HTTP/1.1" 200 5 ' in line
    assert server.stop() == 0
    assert (server.stdout, server.stderr) == ("", "")
    assert "stopped after" in lines_of(logs / "error.log")[-1]
    assert stat.S_IMODE((logs / "access.log").stat().st_mode) & 0o137 == 0


@pytest.mark.feature
def test_logrotate_renames_and_sends_sigusr1_under_load_and_each_request_has_one_line(start: Start, logs: Path) -> None:
    access = logs / "access.log"
    server = start(*APP, "--workers", "2", "--access-log-file", str(access))
    with NumberedRequests(server.port) as load:
        for number in range(1, 6):
            load.go_on()
            access.rename(logs / f"access.log.{number}")
            server.signal(signal.SIGUSR1)
            server.wait_for_log("SIGUSR1: opening the log files anew", number)
    assert server.stop() == 0
    assert not load.faults
    assert logged(logs.iterdir()) == Counter(load.answered)
    assert len(list(logs.iterdir())) == 6
    assert " ERROR " not in server.stderr
    assert " WARNING " not in server.stderr


@pytest.mark.parametrize("preload", varied((), ("--preload",)), ids=["spawned", "preload"])
def test_the_verb_returns_when_nobody_has_the_renamed_file_open_any_more(
    start: Start, logs: Path, runtime: Path, preload: tuple[str, ...]
) -> None:
    access, error = logs / "access.log", logs / "error.log"
    options = ("--access-log-file", str(access), "--log-file", str(error), "--admin", "127.0.0.1:0", *preload)
    server = start(*APP, "--workers", "3", *options, env=environment(runtime), ready=False)
    server.url = url_in(error)
    until(lambda: "admin" in error.read_text(), "the admin child")
    for file in (access, error):
        file.rename(f"{file}.1")
    assert done(verb(runtime, "reopen")).splitlines()[-1] == "reopen: log files are open anew"
    assert access.with_name("access.log.1") not in open_files(server, logs)
    until(lambda: open_files(server, logs) == {access, error}, "the admin child and the template to follow")
    assert re.search(r"corehttp reopen by uid \d+, pid \d+: opening the log files anew", error.read_text())


def open_files(server: ServerProcess, directory: Path) -> set[Path]:
    """The files below a directory that any process of the service has open."""
    found = set()
    for pid in server.processes():
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                path = Path(os.readlink(link))
            except FileNotFoundError:
                continue
            if path.parent == directory:
                found.add(path)
    return found


@pytest.mark.parametrize("way", ["verb", "signal"])
def test_without_files_there_is_nothing_to_open(start: Start, runtime: Path, way: str) -> None:
    server = start(*APP, env=environment(runtime))
    why = "nothing here uses it without --log-file or --access-log-file"
    if way == "verb":
        run = verb(runtime, "reopen")
        assert (run.returncode, run.stderr) == (1, f"Error: {why}\n")
    else:
        server.signal(signal.SIGUSR1)
        server.wait_for_log(f"SIGUSR1: ignored, {why}")
    assert server.stop() == 0


def test_one_process_alone_opens_its_files_at_sigusr1(start: Start, logs: Path) -> None:
    access = logs / "access.log"
    server = start(*APP, "--no-supervise", "--access-log-file", str(access))
    httpx.get(f"{server.url}/?n=1")
    until(lambda: lines_of(access), "the line")
    access.rename(logs / "access.log.1")
    server.signal(signal.SIGUSR1)
    server.wait_for_log("SIGUSR1: log files are open anew")
    assert open_files(server, logs) == {access}
    assert server.stop() == 0


def test_a_worker_that_cannot_open_its_file_goes_on_and_the_verb_says_so(
    start: Start, logs: Path, runtime: Path
) -> None:
    access = logs / "access.log"
    server = start(*APP, "--workers", "2", "--access-log-file", str(access), env=environment(runtime))
    with NumberedRequests(server.port) as load:
        load.go_on()
        logs.rename(logs.parent / "moved")
        run = verb(runtime, "reopen")
        assert run.returncode == 1
        assert "worker 1: " in run.stderr
        assert f"there is no directory {logs}; make it, or name a file in another one" in run.stderr
        load.go_on()
        logs.mkdir()
        assert verb(runtime, "reopen").returncode == 0
        load.go_on()
    assert server.stop() == 0
    assert logged([logs.parent / "moved" / "access.log", access]) == Counter(load.answered)
    assert f"the access log {access} cannot be opened anew" in server.stderr


@pytest.mark.feature
@pytest.mark.parametrize("option", ["--log-file", "--access-log-file"])
def test_a_path_that_cannot_be_written_is_told_before_a_start(start: Start, tmp_path: Path, option: str) -> None:
    server = start(*APP, option, "no/such/file", ready=False)
    assert server.wait() == 2
    assert server.stderr == (
        f"Error: {option[2:]} {tmp_path}/no/such/file cannot be opened: "
        f"there is no directory {tmp_path}/no/such; make it, or name a file in another one\n"
    )


def test_a_start_that_fails_is_told_where_somebody_looks(start: Start, logs: Path) -> None:
    server = start("no_such_module:app", "--port", "0", "--log-file", "logs/error.log", ready=False)
    assert server.wait() == 3
    assert server.stderr == f"Error: the service could not start: {logs}/error.log says why\n"
    assert "there is no module 'no_such_module'" in (logs / "error.log").read_text()


def test_a_relative_path_outlives_the_release_that_it_began_in(start: Start, tmp_path: Path) -> None:
    one, two, current = tmp_path / "one", tmp_path / "two", tmp_path / "current"
    for release in (one, two):
        release.mkdir()
        ChangingApp(release).become(release.name)
    current.symlink_to(one)
    arguments = ("changing_app:app", "--port", "0", "--access-log-file", "access.log")
    server = start(*arguments, env={"PWD": str(current)}, directory=current)
    assert httpx.get(server.url).text == "one"
    current.unlink()
    current.symlink_to(two)
    shutil.rmtree(one)
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded in")
    assert httpx.get(server.url).text == "two"
    until(lambda: lines_of(two / "access.log"), "the line, in the release of now")
    assert server.stop() == 0


def test_a_reload_takes_other_files_and_refuses_those_that_cannot_be_written(
    start: Start, logs: Path, tmp_path: Path
) -> None:
    app = ChangingApp(tmp_path)
    app.become("1")
    options = tmp_path / "corehttp.toml"
    options.write_text('access-log-file = "logs/one.log"\n')
    server = start(*app.arguments, "--access-log")
    httpx.get(server.url)
    until(lambda: lines_of(logs / "one.log"), "the first line")
    options.write_text('access-log-file = "none/two.log"\n')
    server.signal(signal.SIGHUP)
    server.wait_for_log(r"the reload has failed, the old workers serve on: access-log-file \S+/none/two.log cannot be")
    options.write_text('access-log-file = "logs/two.log"\n')
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded in")
    httpx.get(server.url)
    until(lambda: lines_of(logs / "two.log"), "the second line")
    assert server.stop() == 0
    assert (len(lines_of(logs / "one.log")), len(lines_of(logs / "two.log"))) == (1, 1)


def test_an_upgrade_goes_on_in_the_same_files(start: Start, logs: Path) -> None:
    access = logs / "access.log"
    server = start(*APP, "--workers", "2", "--access-log-file", str(access))
    with NumberedRequests(server.port, clients=2) as load:
        load.go_on()
        access.rename(logs / "access.log.1")
        server.signal(signal.SIGUSR2)
        server.wait_for_log("leaving the service to it")
        assert server.wait() == 0
        load.go_on()
    [new] = [pid for pid in server.processes() if is_supervisor(pid, server)]
    os.kill(new, signal.SIGTERM)
    until(lambda: not server.processes(), "the end")
    assert logged(logs.iterdir()) == Counter(load.answered)


def is_supervisor(pid: int, server: ServerProcess) -> bool:
    """Whether a process of the service is the parent of others of it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return any(int(child) in server.processes() for child in children)


@pytest.mark.parametrize("kind", varied(("--workers", "3"), ("--no-supervise",)), ids=["workers", "alone"])
def test_files_are_rotated_under_load_and_each_request_has_one_line(
    start: Start, logs: Path, kind: tuple[str, ...]
) -> None:
    access = logs / "access.log"
    options = ("--access-log-file", str(access), "--log-max-size", "4K", "--log-keep", "1000")
    server = start(*APP, *kind, *options)
    with NumberedRequests(server.port) as load:
        until((logs / "access.log.4").exists, "four rotations")
    assert server.stop() == 0
    assert logged(logs.iterdir()) == Counter(load.answered)
    assert " ERROR " not in server.stderr
    assert " WARNING " not in server.stderr


def test_no_more_files_are_kept_than_wanted_and_the_newest_are(start: Start, logs: Path) -> None:
    access = logs / "access.log"
    options = ("--access-log-file", str(access), "--log-max-size", "1K", "--log-keep", "1")
    server = start(*APP, "--workers", "2", *options)
    times: set[int] = set()

    def look() -> bool:
        load.go_on(20)
        times.update(path.stat().st_mtime_ns for path in logs.glob("access.log.1"))
        return len(times) > 2

    with NumberedRequests(server.port) as load:
        until(look, "three rotations")
    assert server.stop() == 0
    assert {path.name for path in logs.iterdir()} <= {"access.log", "access.log.1"}
    found = logged(logs.iterdir())
    newest = sorted(load.answered)[-10:]
    assert [found[number] for number in newest] == [1] * 10


def test_a_file_that_cannot_be_rotated_is_told_once_and_goes_on(start: Start, logs: Path) -> None:
    access = logs / "access.log"
    (logs / "access.log.1").mkdir()  # a directory, which no file can take the place of
    server = start(*APP, "--access-log-file", str(access), "--log-max-size", "1K", "--log-keep", "1")
    with NumberedRequests(server.port) as load:
        load.go_on()
        server.wait_for_log("is too large and cannot be rotated: it is a directory")
        load.go_on()
    assert server.stop() == 0
    assert logged([access]) == Counter(load.answered)
    assert server.stderr.count("cannot be rotated") == 1


# What cannot be written.


# A disk that the lines of a test do not fill by themselves, however fast the machine answers requests.
DISK_SIZE = 16 << 20  # bytes
CROWDED = f"mount -t tmpfs -o size={DISK_SIZE} none {{0}} && exec {{1}} -m corehttp {{2}}"


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """Starts servers with a small disk of their own at `crowded`, in a mount namespace (mount_namespaces(7))."""
    servers: list[ServerProcess] = []
    (tmp_path / "crowded").mkdir()

    def start(*arguments: str) -> ServerProcess:
        script = CROWDED.format(tmp_path / "crowded", sys.executable, shlex.join(arguments))
        program = ("-c", "import os, sys; os.execvp('unshare', ['unshare', '-m', 'sh', '-c', sys.argv[1]])")
        servers.append(ServerProcess([script], tmp_path, program=program))
        servers[-1].wait_until_ready()
        return servers[-1]

    yield start
    for server in servers:
        server.end()


def inside(server: ServerProcess, path: Path) -> Path:
    """A path of the server's mount namespace (proc(5), /proc/pid/root)."""
    return Path(f"/proc/{server.pid}/root{path}")


@as_root
@pytest.mark.feature
def test_a_full_disk_stops_no_request_and_what_it_has_cost_is_told(
    crowded: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    access = tmp_path / "crowded" / "access.log"
    server = crowded(*APP, "--workers", "2", "--access-log-file", str(access))
    filler = inside(server, tmp_path / "crowded" / "filler")
    with NumberedRequests(server.port, clients=2) as load:
        load.go_on(20)
        with contextlib.suppress(OSError):
            filler.write_bytes(bytes(DISK_SIZE))
        server.wait_for_log("cannot be written, lines are dropped: No space left on device")
        load.go_on()
        filler.unlink()
        server.wait_for_log(r"access.log could not be written: \d+ lines of the access log dropped")
    assert not load.faults

    def accounted() -> bool:
        lines = inside(server, access).read_text().splitlines()
        whole = [line for line in lines if re.search(r'"GET /\?n=\d+ HTTP/1.1" 200 \d+ [\d.]+ ms$', line)]
        assert len(set(whole)) == len(whole)
        dropped = re.findall(r"could not be written: (\d+) lines", server.stderr)
        return len(whole) + sum(map(int, dropped)) == len(load.answered)

    until(accounted, "each request to have its line, or to be counted")
    assert server.stop() == 0
    assert "Traceback" not in server.stderr


@pytest.mark.feature
def test_a_device_that_takes_nothing_is_told_once_and_stops_nobody(start: Start) -> None:
    server = start(*APP, "--access-log-file", "/dev/full")
    for _ in range(3):
        assert httpx.get(server.url).status_code == 200
    server.wait_for_log("the access log /dev/full cannot be written, lines are dropped: No space left on device")
    assert server.stop() == 0
    assert server.stderr.count("cannot be written") == 1
    assert "/dev/full could not be written: 3 lines of the access log dropped" in server.stderr


@pytest.mark.parametrize("option", varied("--log-file", "--access-log-file"))
def test_a_pipe_whose_reader_stalls_stops_neither_a_worker_nor_the_supervisor(
    start: Start, tmp_path: Path, option: str
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    try:
        other = () if option == "--log-file" else ("--log-file", str(tmp_path / "error.log"))
        server = start(*APP, "--workers", "2", option, str(path), *other, "--log-level", "debug", ready=False)
        address: list[str] = []

        def read() -> bool:
            with contextlib.suppress(BlockingIOError):
                address.append(os.read(reader, 65536).decode())
            return "ready in" in "".join(address)

        log = tmp_path / "error.log"
        until(read if option == "--log-file" else lambda: log.exists() and "ready in" in log.read_text(), "the start")
        found = re.search(r"http://127\.0\.0\.1:\d+", "".join(address) if option == "--log-file" else log.read_text())
        assert found is not None
        for _ in range(100):
            assert httpx.get(f"{found[0]}/" + "x" * 4000).status_code == 200
        server.signal(signal.SIGTTIN)
        until(lambda: len(server.worker_pids()) == 3, "a third worker, by a supervisor that waits for nobody")
        assert server.stop() == 0
    finally:
        os.close(reader)


@pytest.mark.parametrize("alone", [(), ("--no-supervise",)], ids=["supervised", "alone"])
def test_an_application_that_closes_every_descriptor_it_does_not_know_costs_no_line(
    start: Start, logs: Path, tmp_path: Path, alone: tuple[str, ...]
) -> None:
    (tmp_path / "closing.py").write_text(
        "import os\n"
        "async def app(scope, receive, send):\n"
        "    if scope['path'] == '/close':\n"
        "        for fd in os.listdir('/proc/self/fd'):\n"
        "            try: path = os.readlink(f'/proc/self/fd/{fd}')\n"
        "            except OSError: continue\n"
        "            if path.startswith(os.environ['LOGS']):\n"
        "                os.close(int(fd)); open('/dev/null', 'rb'); os.open('other', os.O_RDWR | os.O_CREAT)\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'0')]})\n"
        "    await send({'type': 'http.response.body'})\n"
    )
    files = ("--log-file", str(logs / "error.log"), "--access-log-file", str(logs / "access.log"))
    arguments = ("closing:app", "--app-dir", str(tmp_path), "--port", "0", "--lifespan", "off", *files, *alone)
    server = start(*arguments, env={"LOGS": str(logs)}, ready=False)
    url = url_in(logs / "error.log")
    for path in ("/one", "/close", "/two", "/three"):
        assert httpx.get(url + path).status_code == 200
    until(lambda: len(lines_of(logs / "access.log")) == 4, "all lines")
    assert server.stop() == 0
    assert "stopped after" in lines_of(logs / "error.log")[-1]
    assert (tmp_path / "other").read_bytes() == b""
