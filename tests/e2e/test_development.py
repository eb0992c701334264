"""--reload: what is saved is what answers, however it was saved, and nothing that is wrong ends the service."""

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import websockets.sync.client as websockets_client
from websockets.exceptions import ConnectionClosed

from corehttp.watching.polling import QUIET
from tests.e2e.conftest import Start
from tests.kit.changing import BROKEN, FAILING, GOOD
from tests.kit.extent import varied
from tests.kit.meanwhile import again_and_again
from tests.kit.ports import free_port
from tests.kit.programs import installed
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import PATIENCE, ServerProcess, until

pytestmark = pytest.mark.e2e

FAILING_REQUESTS = """
from starlette.applications import Starlette
from starlette.routing import Route

def fail(request):
    raise ValueError("<b>the reason</b>")

app = Starlette(routes=[Route("/", fail)])
"""
NOT_PYTHON = "def app(:\n"
EXITS = "raise SystemExit(3)\n"
ENDLESS = "import pathlib\npathlib.Path('reached').touch()\nwhile True: pass\n"
WEBSOCKET = """
async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
"""
POLLING = {"WATCHFILES_FORCE_POLLING": "1"}


def good(version: str) -> str:
    return GOOD.format(version=version)


class Project:
    """A directory with an application in it, from which the server is started."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.directory.mkdir()
        self.main = directory / "main.py"
        self.write(good("1"))

    def write(self, text: str) -> None:
        """Save as an editor does that opens the file and writes it anew."""
        self.main.write_text(text)

    def replace(self, text: str) -> None:
        """Save as an editor does that puts another file in the place of the old one."""
        other = self.directory / ".main.py.swp"
        other.write_text(text)
        other.rename(self.main)

    def keep_old(self, text: str) -> None:
        """Save as an editor does that renames the old file and writes a new one."""
        self.main.rename(self.directory / "main.py~")
        self.main.write_text(text)

    def check_out(self, text: str) -> None:
        """Change to a branch of git in which the file has this text, and to which many other files belong."""

        def git(*arguments: str) -> None:
            identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=old")
            command = [installed("git"), *identity, *arguments]
            subprocess.run(command, cwd=self.directory, check=True, capture_output=True)

        branch = self.directory.parent / "branch"
        git("init")
        git("add", "main.py")
        git("commit", "-m", "old")
        git("worktree", "add", str(branch), "-b", "new")
        (branch / "main.py").write_text(text)
        for number in range(50):
            (branch / f"module_{number}.py").write_text("")
        git("-C", str(branch), "add", ".")
        git("-C", str(branch), "commit", "-m", "new")
        git("-C", str(branch), "checkout", "--detach")
        git("checkout", "new")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


@pytest.fixture
def server(start: Start, project: Project) -> ServerProcess:
    return developed(start, project)


def developed(start: Start, project: Project, *arguments: str, **how: object) -> ServerProcess:
    """A server that is started as a developer does; it watches when this returns."""
    ready = bool(how.pop("ready", True))
    app = () if "main:make" in arguments else ("main:app",)
    server = start(*app, "--reload", "--port", "0", *arguments, directory=project.directory, ready=ready, **how)  # type: ignore[arg-type]
    server.wait_for_log("watching .* for changes")
    return server


def answer(server: ServerProcess, path: str = "/") -> str:
    with RawConnection(server.port) as connection:
        return connection.get(path)[1].decode()


def comes_to_answer(server: ServerProcess, version: str) -> None:
    """Wait until the version answers; each request on the way has an answer of some version."""
    until(lambda: answer(server) == version, f"version {version}")


def reloads(server: ServerProcess) -> int:
    return server.stderr.count(": reloading")


@contextmanager
def strangers(server: ServerProcess) -> Iterator[list[str]]:
    """Clients that come one after another; yields their answers, and fails if one has none."""
    answers: list[str] = []
    with again_and_again(lambda: answers.append(answer(server))):
        yield answers


@pytest.mark.parametrize("save", varied(Project.replace, Project.write, Project.keep_old, Project.check_out))
def test_however_it_is_saved_new_code_answers_and_no_client_fails(
    server: ServerProcess, project: Project, save: Callable[[Project, str], None]
) -> None:
    with strangers(server) as answers:
        save(project, good("2"))
        until(lambda: "2" in answers, "the new code")
    assert answers == sorted(answers), "old code never answers after new code has"
    assert reloads(server) <= 2, "one, or two where a busy machine holds up who saves"
    assert server.stop() == 0


def test_a_burst_of_saves_is_one_reload(server: ServerProcess, project: Project) -> None:
    times = [time.monotonic()]
    for number in range(50):
        (project.directory / f"module_{number}.py").write_text("")
        times.append(time.monotonic())
    project.write(good("2"))
    times.append(time.monotonic())
    comes_to_answer(server, "2")
    held_up = sum(later - earlier > QUIET / 2 for earlier, later in itertools.pairwise(times))
    assert reloads(server) <= 1 + held_up
    server.wait_for_log(r"and \d\d more files have changed: reloading")


def test_saves_within_a_second_that_leave_the_size_as_it_is_all_count(server: ServerProcess, project: Project) -> None:
    for number in range(2, 7):
        project.write(good(str(number)))
        comes_to_answer(server, str(number))


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        pytest.param(NOT_PYTHON, "SyntaxError: invalid syntax", marks=pytest.mark.feature),
        (BROKEN, "ModuleNotFoundError: No module named 'no_such_module'"),
        (FAILING, "the database is away"),
        (EXITS, "SystemExit: 3"),
    ],
    ids=["no Python", "crash at import", "lifespan", "exit at import"],
)
def test_bad_code_is_shown_and_requests_wait_for_good_code(
    server: ServerProcess, project: Project, bad: str, told: str
) -> None:
    project.write(bad)
    server.wait_for_log("the code cannot start: nothing is started until a file changes")
    server.wait_for_log(re.escape(told))
    with RawConnection(server.port) as waiting:
        waiting.ask("/")
        project.write(good("2"))
        assert waiting.answer()[1] == b"2"
    assert server.stderr.count("Traceback") <= 1
    assert server.stop() == 0


@pytest.mark.parametrize("bad", [NOT_PYTHON, FAILING], ids=["no Python", "lifespan"])
def test_bad_code_at_the_start_ends_nothing_and_requests_wait(start: Start, project: Project, bad: str) -> None:
    port = free_port()
    project.write(bad)
    server = developed(start, project, "--port", str(port), ready=False)
    server.wait_for_log("the code cannot start: nothing is started until a file changes")
    with RawConnection(port) as waiting:
        waiting.ask("/")
        project.write(good("1"))
        assert waiting.answer()[1] == b"1"
    server.wait_until_ready()
    assert server.stop() == 0


def test_who_waits_for_code_that_cannot_start_is_told_at_the_end_of_the_service(start: Start, project: Project) -> None:
    port = free_port()
    project.write(NOT_PYTHON)
    server = developed(start, project, "--port", str(port), ready=False)
    server.wait_for_log("the code cannot start")
    with RawConnection(port) as waiting:
        waiting.ask("/")
        assert server.stop() == 0
        assert waiting.answer()[0].startswith(b"HTTP/1.1 503")


def test_an_import_that_never_ends_is_ended_by_the_next_save(server: ServerProcess, project: Project) -> None:
    project.write(ENDLESS)
    until((project.directory / "reached").exists, "the import")
    project.write(good("2"))
    comes_to_answer(server, "2")
    # A worker, the watcher and the spare process.
    until(lambda: len(server.worker_pids()) == 3, "the end of the first attempt")


def test_a_request_that_is_nearly_done_is_answered_by_the_old_code(server: ServerProcess, project: Project) -> None:
    with RawConnection(server.port) as client, RawConnection(server.port) as slow:
        client.get("/")
        slow.ask("/slow?s=0.2")
        project.write(good("2"))
        assert slow.answer()[1] == b"1"
        comes_to_answer(server, "2")
        assert client.get("/")[1] == b"2", "an idle connection stays open"


@pytest.mark.feature
def test_a_request_that_takes_long_is_cut(server: ServerProcess, project: Project) -> None:
    with RawConnection(server.port) as slow:
        slow.ask("/slow?s=100")
        server.wait_for_log("ready in")
        assert answer(server) == "1"  # so the slow one has begun
        project.write(good("2"))
        comes_to_answer(server, "2")
        assert slow.answer()[0].startswith(b"HTTP/1.1 503")
    found = server.wait_for_log(r"cut at the end of the graceful time: GET /slow after (\d+\.\d) s")
    assert float(found[1]) < 30, "long before the graceful time of a stop"


def test_an_event_loop_that_is_blocked_holds_up_no_reload(server: ServerProcess, project: Project) -> None:
    with RawConnection(server.port) as blocking:
        blocking.ask("/block?1000")
        server.wait_for_log("is blocked for")
        project.write(good("2"))
        comes_to_answer(server, "2")
    server.wait_for_log("is killed while draining")


def test_a_websocket_is_closed_with_1012(start: Start, project: Project) -> None:
    project.write(WEBSOCKET)
    server = developed(start, project)
    with websockets_client.connect(f"ws://127.0.0.1:{server.port}/") as client:
        project.write(good("2"))
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(PATIENCE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
    comes_to_answer(server, "2")


def test_a_file_that_is_removed_is_missed_and_taken_when_it_is_back(server: ServerProcess, project: Project) -> None:
    project.main.unlink()
    server.wait_for_log("there is no module 'main'")
    project.write(good("2"))
    comes_to_answer(server, "2")


def test_files_beside_the_code_count_where_they_are_included(start: Start, project: Project) -> None:
    (project.directory / "page.html").write_text("1")
    project.write(good("1").replace("'1'", "open('page.html').read()"))
    server = developed(start, project, "--reload-include", "*.html", "--reload-exclude", "generated.py")
    (project.directory / "generated.py").write_text("")
    (project.directory / ".new").write_text("22")
    (project.directory / ".new").rename(project.directory / "page.html")
    comes_to_answer(server, "22")
    server.wait_for_log(r"page\.html has changed: reloading")
    assert reloads(server) == 1


@pytest.mark.feature
def test_without_word_from_the_system_files_are_looked_at(start: Start, project: Project) -> None:
    server = developed(start, project, env=POLLING)
    assert "(polling)" in server.stderr
    with strangers(server) as answers:
        project.replace(good("2"))
        until(lambda: "2" in answers, "the new code")
    assert reloads(server) == 1


@pytest.mark.parametrize("env", [{}, POLLING], ids=["watchfiles", "polling"])
def test_a_package_behind_a_symbolic_link_counts(start: Start, project: Project, env: dict[str, str]) -> None:
    library = project.directory.parent / "source" / "library"
    library.mkdir(parents=True)
    (library / "__init__.py").write_text("version = '1'")
    (project.directory / "library").symlink_to(library)
    project.write(good("1").replace("VERSION = '1'", "from library import version as VERSION"))
    server = developed(start, project, env=env)
    (library / "__init__.py").write_text("version = '22'")
    comes_to_answer(server, "22")


def test_an_application_of_an_editable_install_counts(start: Start, project: Project) -> None:
    source = project.directory.parent / "source"
    (source / "shop").mkdir(parents=True)
    (source / "shop" / "__init__.py").write_text(good("1"))
    elsewhere = Project(project.directory.parent / "elsewhere")
    server = start(
        "shop:app",
        "--reload",
        "--port",
        "0",
        directory=elsewhere.directory,
        env={"PYTHONPATH": str(source)},
        ready=False,
    )
    server.wait_until_ready()
    server.wait_for_log(f"watching .*{source / 'shop'}.* for changes")
    (source / "shop" / "__init__.py").write_text(good("2"))
    comes_to_answer(server, "2")


def test_a_factory_makes_the_application_anew(start: Start, project: Project) -> None:
    project.write(good("1") + "def make(): return app\n")
    server = developed(start, project, "main:make", "--factory")
    project.write(good("2") + "def make(): return app\n")
    comes_to_answer(server, "2")


def test_all_workers_take_new_code_at_once(start: Start, project: Project) -> None:
    server = developed(start, project, "--workers", "3")
    with strangers(server) as answers:
        project.write(good("2"))
        server.wait_for_log("reloaded in .* all workers are of generation 2")
        before = len(answers)
        until(lambda: len(answers) > before + 20, "more answers")
    assert set(answers[before + 1 :]) == {"2"}


def test_a_watcher_that_is_killed_is_replaced(start: Start, project: Project) -> None:
    server = developed(start, project, "--log-level", "debug")
    os.kill(int(server.wait_for_log(r"the watcher \(pid (\d+)\) started")[1]), signal.SIGKILL)
    server.wait_for_log("watching .* for changes", 2)
    project.write(good("2"))
    comes_to_answer(server, "2")


def test_a_save_while_no_watcher_runs_is_taken_when_another_one_runs(start: Start, project: Project) -> None:
    server = developed(start, project, "--log-level", "debug")
    os.kill(int(server.wait_for_log(r"the watcher \(pid (\d+)\) started")[1]), signal.SIGKILL)
    server.wait_for_log("no change is noticed until another one looks for what has changed since")
    project.write(good("2"))
    comes_to_answer(server, "2")
    server.wait_for_log("main.py has changed: reloading")


def test_a_spare_process_that_is_killed_is_not_missed(server: ServerProcess, project: Project) -> None:
    until(lambda: len(server.worker_pids()) == 3, "a worker, the watcher and the spare process")
    os.kill(max(server.worker_pids()), signal.SIGKILL)
    until(lambda: len(server.worker_pids()) == 2, "its end")
    project.write(good("2"))
    comes_to_answer(server, "2")
    until(lambda: len(server.worker_pids()) == 3, "another one")


@pytest.mark.parametrize("moment", ["bad code", "import", "request", "watcher gone"])
def test_ctrl_c_ends_the_service_at_any_moment(start: Start, project: Project, moment: str) -> None:
    server = developed(start, project, "--timeout-graceful-shutdown", "1", "--log-level", "debug")
    with RawConnection(server.port) as client:
        match moment:
            case "bad code":
                project.write(BROKEN)
                server.wait_for_log("the code cannot start")
            case "import":
                project.write(ENDLESS)
                until((project.directory / "reached").exists, "the import")
            case "request":
                client.ask("/slow?s=100")
                assert answer(server) == "1"
                project.write(good("2"))
                server.wait_for_log(": reloading")
            case _:
                os.kill(int(server.wait_for_log(r"the watcher \(pid (\d+)\) started")[1]), signal.SIGKILL)
                server.wait_for_log("no change is noticed")
        server.signal(signal.SIGINT)
        assert server.wait() in (0, 5)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--no-supervise",), "reload needs a supervisor: leave it out, or have the command"),
        (("--preload",), "reload and preload exclude each other"),
        (("--reload-dir", "nowhere"), "reload-dir: there is no directory nowhere"),
    ],
)
def test_what_does_not_go_with_it_is_told(
    start: Start, project: Project, arguments: tuple[str, ...], told: str
) -> None:
    server = start("main:app", "--reload", *arguments, directory=project.directory, ready=False)
    assert server.wait() == 2
    assert told in server.stderr


def test_an_application_that_is_an_object_is_not_reloaded(project: Project) -> None:
    program = "import corehttp, main\ncorehttp.run(main.app, reload=True)\n"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=project.directory, capture_output=True, text=True, check=False
    )
    assert "reload needs a supervisor" in result.stderr
    assert "import string, such as 'main:app'" in result.stderr


def test_a_program_that_serves_an_import_string_has_it_reloaded(project: Project, tmp_path: Path) -> None:
    (project.directory / "run.py").write_text(
        "import corehttp\nif __name__ == '__main__':\n    corehttp.run('main:app', reload=True, port=0)\n"
    )
    server = ServerProcess((), tmp_path, program=("run.py",), directory_of_process=project.directory)
    try:
        server.wait_until_ready()
        project.write(good("2"))
        comes_to_answer(server, "2")
        assert server.stop() == 0
        server.check_nothing_is_left()
    finally:
        server.end()


def test_a_reload_that_is_asked_for_is_told_when_the_code_cannot_start(
    start: Start, project: Project, runtime: Path
) -> None:
    project.write(BROKEN)
    server = developed(start, project, "--control", str(runtime / "a.sock"), ready=False)
    server.wait_for_log("the code cannot start")
    command = [sys.executable, "-m", "corehttp", "reload", "--socket", str(runtime / "a.sock")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert result.returncode == 1
    assert "No module named 'no_such_module'" in result.stderr + result.stdout


@pytest.mark.feature
def test_a_browser_is_shown_the_traceback_and_a_proxy_is_not(start: Start, project: Project) -> None:
    project.write(FAILING_REQUESTS)
    server = developed(start, project, "--debug-exceptions")
    with RawConnection(server.port) as client:
        client.ask("/", "accept: text/html")
        head, body = client.answer()
        assert head.startswith(b"HTTP/1.1 500")
        assert b"raise ValueError(&quot;&lt;b&gt;the reason" in body
        assert b"main.py" in body
        client.ask("/", "accept: text/html", "x-forwarded-for: 127.0.0.1")
        assert client.answer()[1] == b"Internal Server Error"
    server.wait_for_log("Traceback", 2)  # the log has it as always


def test_tracebacks_are_shown_on_no_other_address(start: Start, project: Project) -> None:
    server = start("main:app", "--debug-exceptions", "--host", "0.0.0.0", directory=project.directory, ready=False)
    assert server.wait() == 2
    assert "debug-exceptions shows source code: it needs host 127.0.0.1, ::1 or localhost" in server.stderr
