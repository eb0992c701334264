"""--user, --group, --umask and --chdir: root binds, and every process of the service is another user's."""

import json
import os
import pwd
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.kit.other_user import NAMELESS, NOBODY, ForOthers, for_others, ids
from tests.kit.ports import free_low_port
from tests.kit.server_process import ServerProcess, servers_of_a_test, until

pytestmark = pytest.mark.e2e

Serve = Callable[..., ServerProcess]


@pytest.fixture(scope="module")
def others() -> Iterator[ForOthers]:
    with for_others() as found:
        yield found


@pytest.fixture
def serve(others: ForOthers, tmp_path: Path) -> Iterator[Serve]:
    """Start the command as root in the others' directory, with the control socket in a directory `own`."""
    with servers_of_a_test() as servers:

        def serve(own: Path, *arguments: str, ready: bool = True, directory: Path = others.directory) -> ServerProcess:
            env = {**others.variables, "XDG_RUNTIME_DIR": "/nowhere", "TMPDIR": str(own), "PWD": str(directory)}
            server = ServerProcess(arguments, tmp_path, env, directory_of_process=directory, python=others.python)
            servers.append(server)
            if ready:
                server.wait_until_ready()
            return server

        yield serve


def check_ids(server: ServerProcess, count: int, user: int, groups: list[int]) -> None:
    """Assert that the server has `count` processes, and that each is of this user and has these groups alone."""
    until(lambda: len(server.processes()) == count, f"{count} processes")
    for pid in server.processes():
        assert ids(pid) == {"Uid": [user] * 4, "Gid": [groups[0]] * 4, "Groups": groups}
        assert os.stat(f"/proc/{pid}").st_uid == user  # it can see its own descriptors


def owner(path: Path) -> tuple[int, int, int]:
    """The user, the group and the permissions of a file."""
    found = path.stat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


def ask(where: str | Path) -> str:
    """What the application says at a port's address or a socket's path."""
    if isinstance(where, str):
        return httpx.get(where).text
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(where))) as client:
        return client.get("http://service/").text


@pytest.mark.feature
def test_every_process_is_of_the_user_and_has_what_only_root_could_open(others: ForOthers, serve: Serve) -> None:
    own = others.own_directory(NOBODY)
    closed = others.own_directory(0)  # as /var/log: root alone may make files there
    low = free_low_port()
    server = serve(
        *(own, "main:app", "--user", "nobody", "--workers", "2", "--preload", "--umask", "027", "--chdir", str(own)),
        *("--app-dir", "..", "-b", f"127.0.0.1:{low}", "-b", "unix:web.sock", "--uds-permissions", "660"),
        *("--uds-owner", f"daemon:{NAMELESS}", "--pid", "pid", "--log-file", str(closed / "log")),
        *("--access-log-file", "requests", "--admin", "127.0.0.1:0"),
        ready=False,
    )
    log = closed / "log"
    until(lambda: log.exists() and "workers ready" in log.read_text(), "the workers")
    until(lambda: "admin listener serves" in log.read_text(), "the admin child")
    check_ids(server, 5, NOBODY, [NOBODY])  # with supervisor, template and admin child
    home = pwd.getpwnam("nobody").pw_dir
    for where in (f"http://127.0.0.1:{low}", own / "web.sock"):
        user, pid, *rest = ask(where).split(" ")
        assert (user, rest) == (str(NOBODY), [home, str(own)])
        assert int(pid) in server.processes()
    assert owner(own / "web.sock") == (pwd.getpwnam("daemon").pw_uid, NAMELESS, 0o660)
    assert owner(own / "pid") == (NOBODY, NOBODY, 0o640)
    assert owner(log) == owner(own / "requests") == (NOBODY, NOBODY, 0o640)
    [control] = (own / f"corehttp-{NOBODY}").iterdir()
    assert owner(control) == (NOBODY, NOBODY, 0o600)
    assert server.stop() == 0
    assert sorted(path.name for path in own.iterdir()) == [f"corehttp-{NOBODY}", "requests"]
    assert not list((own / f"corehttp-{NOBODY}").iterdir())


@pytest.mark.parametrize("sharing", ["auto", "reuseport"])
def test_a_user_without_a_name_outlives_its_workers_reloads_more_workers_and_an_upgrade(
    others: ForOthers, serve: Serve, sharing: str
) -> None:
    own = others.own_directory(NAMELESS)
    port = free_low_port() if sharing == "auto" else 0
    server = serve(
        *(own, "main:app", "--user", str(NAMELESS), "--group", str(NAMELESS), "--workers", "2", "--socket", sharing),
        *("-b", f"127.0.0.1:{port}", "-b", f"unix:{own}/web.sock", "--uds-owner", "nobody", "--pid", f"{own}/pid"),
    )
    url = server.url
    first = set(server.worker_pids())
    os.kill(min(first), signal.SIGKILL)
    until(lambda: len(set(server.worker_pids()) - first) == 1, "a successor")
    check_ids(server, 3, NAMELESS, [NAMELESS])
    server.signal(signal.SIGTTIN)
    server.wait_for_log("from 2 to 3 workers")
    check_ids(server, 4, NAMELESS, [NAMELESS])
    server.wait_for_log(r"worker 3 \(pid \d+\) is ready")
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded in")
    check_ids(server, 4, NAMELESS, [NAMELESS])
    server.signal(signal.SIGUSR2)
    assert server.wait() == 0
    check_ids(server, 3, NAMELESS, [NAMELESS])
    assert {ask(url).split(" ")[0], ask(own / "web.sock").split(" ")[0]} == {str(NAMELESS)}
    assert owner(own / "web.sock")[0] == NOBODY
    assert "cannot" not in server.stderr
    os.kill(int((own / "pid").read_text()), signal.SIGTERM)
    until(lambda: not server.processes(), "the end of the successor")
    assert not [path for path in own.rglob("*") if not path.is_dir()]


def test_one_worker_in_the_process_itself_is_of_the_user(others: ForOthers, serve: Serve) -> None:
    own = others.own_directory(NOBODY)
    low = free_low_port()
    server = serve(own, "main:app", "--no-supervise", "--user", "nobody", "--port", str(low), "--pid", f"{own}/pid")
    check_ids(server, 1, NOBODY, [NOBODY])
    assert ask(server.url).split(" ")[0] == str(NOBODY)
    assert server.stop() == 0
    assert not (own / "pid").exists()


def test_an_upgrade_finds_a_relative_directory_and_its_configuration_again(others: ForOthers, serve: Serve) -> None:
    own = others.own_directory(NOBODY)
    (own / "corehttp.toml").write_text("app = 'main:app'\napp-dir = '..'\npid = 'pid'\nport = 0\n")
    server = serve(own, "--user", "nobody", "--chdir", own.name)
    assert ask(server.url).split(" ")[2:] == [pwd.getpwnam("nobody").pw_dir, str(own)]
    server.signal(signal.SIGUSR2)
    assert server.wait() == 0
    assert ask(server.url).endswith(f" {own}")
    os.kill(int((own / "pid").read_text()), signal.SIGTERM)
    until(lambda: not server.processes(), "the end of the successor")


@pytest.mark.parametrize("inspection", [(), ("--check-config",)])
def test_what_the_user_may_not_do_ends_the_start_before_anything_is_bound(
    others: ForOthers, serve: Serve, inspection: tuple[str, ...]
) -> None:
    closed = others.own_directory(0)
    server = serve(
        *(closed, "main:app", "--user", "nobody", "--port", "0", "--pid", f"{closed}/pid", *inspection), ready=False
    )
    assert server.wait() == 2
    assert server.stderr.startswith(f"Error: pid: user nobody cannot make {closed}/pid, and remove it at the end: it")


def test_the_command_checks_as_the_user_what_the_user_is_to_load(others: ForOthers, serve: Serve) -> None:
    own = others.own_directory(NOBODY)
    (own / "mine.py").write_text("import os\nassert os.getresuid() == (65534,) * 3\nasync def app(s, r, w): pass\n")
    server = serve(own, "mine:app", "--user", "nobody", "--chdir", str(own), "--check-config", ready=False)
    assert server.wait() == 0, server.stderr
    assert server.stdout == f"corehttp: the options are right, and mine:app can be loaded in {own}\n"


def test_root_sees_and_stops_a_service_that_has_become_another_users(others: ForOthers, serve: Serve) -> None:
    own = others.own_directory(NOBODY)
    own.chmod(0o1777)  # as /tmp
    server = serve(own, "main:app", "--user", "nobody", "--port", "0", "--name", "shop")
    there = str(own / "nowhere")
    found = subprocess.run(
        [sys.executable, "-m", "corehttp", "list", "--json"],
        env={**os.environ, "TMPDIR": str(own), "XDG_RUNTIME_DIR": there},
        capture_output=True,
        check=True,
    )
    [service] = json.loads(found.stdout)["services"]
    assert (service["name"], service["pid"], service["state"]) == ("shop", server.pid, "serving")
    subprocess.run(
        [sys.executable, "-m", "corehttp", "stop"],
        env={**os.environ, "TMPDIR": str(own), "XDG_RUNTIME_DIR": there},
        check=True,
    )
    assert server.wait() == 0
