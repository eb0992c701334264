"""The admin listener of a running service: its probes, its metrics, its dashboard, and what its child survives."""

import http.client
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped]
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.e2e.conftest import Start
from tests.kit.browser import find_chromium, page
from tests.kit.changing import ChangingApp
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import APP, HERE, PATIENCE, ROOT, ServerProcess, until
from tests.kit.verbs import done, environment, told, verb

pytestmark = pytest.mark.e2e

SERVES = r"the admin listener serves on http://([^:]+):(\d+) \(pid (\d+)\)"
PROBES = ("/livez", "/readyz", "/startupz", "/healthz")


class Reply(NamedTuple):
    status: int
    text: str
    fields: Mapping[str, str]


class Admin:
    """A client of the admin listener of a server."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        found = server.wait_for_log(SERVES)
        self.address = (found[1], int(found[2]))

    @property
    def pid(self) -> int:
        """The process that has said last that it serves."""
        return int(re.findall(SERVES, self._server.stderr)[-1][2])

    def get(self, path: str, method: str = "GET", **fields: str) -> Reply:
        connection = http.client.HTTPConnection(*self.address, timeout=PATIENCE)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in fields.items()})
            answer = connection.getresponse()
            return Reply(answer.status, answer.read().decode(), dict(answer.getheaders()))
        finally:
            connection.close()

    def status_of(self, path: str) -> int:
        return self.get(path).status

    def status(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.get("/status").text)
        return content


@pytest.mark.feature
def test_every_path_is_answered_and_a_child_that_dies_is_replaced_while_requests_go_on(
    start: Start, runtime: Path
) -> None:
    server = start(*APP, "--workers", "2", "--admin", "127.0.0.1:0", "--name", "shop", env=environment(runtime))
    admin = Admin(server)
    for path in PROBES:
        until(lambda path=path: admin.status_of(path) == 200, path)  # type: ignore[misc]
        assert admin.get(path).text == "ok\n"
        assert admin.get(path, "HEAD").text == ""
    assert "workers that serve: 2, needed: 1" in admin.get("/readyz?verbose").text
    status = admin.status()
    assert status.pop("schema") == 1
    same = told(runtime, "status")
    assert status.keys() == same.keys()
    assert [worker.keys() for worker in status["workers"]] == [worker.keys() for worker in same["workers"]]
    assert [worker["pid"] for worker in status["workers"]] == [worker["pid"] for worker in same["workers"]]
    assert admin.get("/livez", "POST").status == 405
    assert admin.get("/nowhere").status == 404
    assert admin.get("/status", host="evil.example").status == 403
    child = psutil.Process(admin.pid)
    assert child.ppid() == server.pid
    assert not any("application" in part for part in child.cmdline() if part.endswith(".py"))

    with RawConnection(server.port) as client:
        for _ in range(3):
            pid = admin.pid
            os.kill(pid, signal.SIGKILL)
            client.get("/")
            assert admin.status_of("/livez") == 200, "who comes meanwhile waits in the queue of the socket"
            until(lambda pid=pid: admin.pid != pid, "another child")  # type: ignore[misc]
            assert client.get("/")[0].startswith(b"HTTP/1.1 200")
    assert f"the admin child (pid {child.pid}) was killed by SIGKILL: another one starts\n" in server.stderr
    assert server.stop() == 0
    with pytest.raises(ConnectionRefusedError):
        admin.get("/livez")


def test_the_service_is_ready_when_its_workers_are_and_not_from_the_first_moment_of_a_stop(
    start: Start, app: ChangingApp
) -> None:
    app.become_slow("1", 2)
    options = ("--workers", "2", "--admin", "127.0.0.1:0", "--shutdown-delay", "3", "--ready-min-workers", "2")
    server = start(*app.arguments, *options, ready=False)
    admin = Admin(server)
    assert [admin.status_of(path) for path in ("/livez", "/readyz", "/startupz")] == [200, 503, 503]
    assert "not all workers have been ready yet" in admin.get("/startupz").text
    server.wait_until_ready()
    assert [admin.status_of(path) for path in PROBES] == [200] * 4
    server.signal(signal.SIGTERM)
    server.wait_for_log("SIGTERM: ")
    reply = admin.get("/readyz")
    assert (reply.status, reply.text.splitlines()[1]) == (503, "the service is stopping")
    assert admin.status_of("/livez") == admin.status_of("/startupz") == 200
    with RawConnection(server.port) as client:
        assert client.get("/")[0].startswith(b"HTTP/1.1 200"), "the workers serve on meanwhile"
    assert server.wait() == 0


def test_the_child_leaves_sigterm_to_the_supervisor_so_that_a_stop_of_all_processes_is_an_ordinary_one(
    start: Start, runtime: Path
) -> None:
    server = start(*APP, "--workers", "2", "--admin", "127.0.0.1:0", env=environment(runtime))
    admin = Admin(server)
    os.kill(admin.pid, signal.SIGTERM)
    assert admin.status_of("/livez") == 200
    os.killpg(server.pid, signal.SIGTERM)  # as systemd does, unless the unit has KillMode=mixed
    assert server.wait() == 0
    assert "the admin child" not in server.stderr


def test_fewer_workers_than_are_needed_are_not_ready(start: Start, app: ChangingApp, runtime: Path) -> None:
    server = start(
        *app.arguments,
        "--workers",
        "2",
        "--admin",
        "127.0.0.1:0",
        "--ready-min-workers",
        "2",
        env=environment(runtime),
    )
    admin = Admin(server)
    until(lambda: admin.status_of("/readyz") == 200, "both workers")
    app.become_slow("1")
    os.kill(admin.status()["workers"][0]["pid"], signal.SIGKILL)
    until(lambda: admin.status_of("/readyz") == 503, "one worker only")
    assert "workers that serve: 1, needed: 2" in admin.get("/readyz").text
    assert admin.status_of("/livez") == admin.status_of("/startupz") == 200
    assert server.stop() == 0


@pytest.mark.parametrize("who", ["workers", "supervisor"])
def test_a_service_whose_loops_are_all_blocked_or_whose_supervisor_is_stuck_is_not_alive(
    start: Start, app: ChangingApp, who: str
) -> None:
    options = ("--workers", "1", "--admin", "127.0.0.1:0", "--timeout-worker-healthcheck", "4")
    server = start(*app.arguments, *options)
    admin = Admin(server)
    assert admin.status_of("/livez") == 200
    if who == "supervisor":
        server.signal(signal.SIGSTOP)
        began = time.monotonic()
        until(lambda: admin.status_of("/livez") == 503, "a supervisor that counts as stuck")
        assert time.monotonic() - began > 9
        assert "the supervisor has not answered for 1" in admin.get("/healthz").text
        assert admin.status_of("/readyz") == 503
        server.signal(signal.SIGCONT)
        until(lambda: admin.status_of("/livez") == 200, "the supervisor's answer")
    else:
        with RawConnection(server.port) as client:
            client.ask("/block?60")
            until(lambda: "0 of 1" in admin.get("/livez?verbose").text, "a blocked loop")
            server.wait_for_log("is blocked for .*, it is replaced")
            until(lambda: "1 of 1" in admin.get("/livez?verbose").text, "its successor")
    server.stop()


@pytest.mark.parametrize("address", ["port", "path"])
def test_an_address_in_use_is_an_error_at_the_start(start: Start, tmp_path: Path, address: str) -> None:
    with socket.socket() as taken, socket.socket(socket.AF_UNIX) as path:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        path.bind(str(tmp_path / "taken.sock"))
        path.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}" if address == "port" else f"unix:{tmp_path}/taken.sock"
        server = start(*APP, "--admin", where, ready=False)
        assert server.wait() == 3
    assert f"there is no admin listener at {where} (--admin): " in server.stderr
    assert "in use" in server.stderr


@pytest.mark.parametrize("option", ["--admin", "--control"])
def test_a_start_that_fails_leaves_no_path_of_the_service_behind(start: Start, tmp_path: Path, option: str) -> None:
    where = {"--admin": f"unix:{tmp_path}", "--control": str(tmp_path)}[option]
    server = start(
        "application:app", "--app-dir", str(HERE), "--uds", str(tmp_path / "a.sock"), option, where, ready=False
    )
    assert server.wait() == 3
    assert not (tmp_path / "a.sock").exists()


def test_a_unix_socket_is_the_users_own_and_is_removed(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    server = start(*APP, "--admin", f"unix:{path}")
    server.wait_for_log(rf"the admin listener serves on unix:{path}")
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(path))
        sock.sendall(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert sock.recv(15) == b"HTTP/1.1 200 OK"
    assert server.stop() == 0
    assert not path.exists()


def test_other_machines_and_strangers_pages_need_the_token(start: Start) -> None:
    token = "sesame-sesame"
    server = start(*APP, "--admin", "127.0.0.1:0", env={"COREHTTP_ADMIN_TOKEN": token})
    admin = Admin(server)
    assert admin.get("/status").status == 200
    forwarded = {"x_forwarded_for": "192.0.2.7"}
    refused = admin.get("/status", **forwarded)
    assert (refused.status, refused.fields["www-authenticate"]) == (401, 'Basic realm="corehttp", charset="UTF-8"')
    assert admin.get("/status", authorization=f"Bearer {token}", **forwarded).status == 200
    assert admin.get("/status", authorization="Bearer wrong-wrong", **forwarded).status == 401
    assert admin.get("/livez", **forwarded).status == 200
    assert token not in server.stderr + server.stdout
    assert server.stop() == 0


def test_the_child_goes_with_a_supervisor_that_is_killed(start: Start) -> None:
    server = start(*APP, "--admin", "127.0.0.1:0")
    admin = Admin(server)
    pid = admin.pid
    server.signal(signal.SIGKILL)
    server.wait()
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie", "the end of the child")


def test_a_client_that_sends_half_a_request_or_too_much_holds_up_nobody(start: Start) -> None:
    server = start(*APP, "--admin", "127.0.0.1:0")
    admin = Admin(server)
    with RawConnection(admin.address[1]) as half, RawConnection(admin.address[1]) as large:
        half.send("GET /livez HTTP/1.1", "Host: a")
        large.send("GET /" + "x" * 5000 + " HTTP/1.1", "", "")
        assert admin.status_of("/livez") == 200
        assert large.rest().startswith(b"HTTP/1.1 414 ")
        assert half.rest().startswith(b"HTTP/1.1 408 ")
    assert server.stop() == 0


def test_a_reload_and_an_upgrade_leave_the_listener_where_it_is(start: Start, app: ChangingApp, runtime: Path) -> None:
    server = start(*app.arguments, "--workers", "2", "--admin", "127.0.0.1:0", env=environment(runtime))
    admin = Admin(server)
    app.become("2")
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded in ")
    assert admin.status()["generation"] == 2
    server.signal(signal.SIGUSR2)
    successor = int(server.wait_for_log(r"the new supervisor \(pid (\d+)\) is ready")[1])
    try:
        until(lambda: admin.status()["pid"] == successor, "the answer of the new supervisor")
        assert server.wait() == 0
        assert admin.status_of("/readyz") == 200
        log = server.stderr
        assert len(re.findall(SERVES, log)) == 2
    finally:
        os.kill(successor, signal.SIGTERM)
        until(lambda: not psutil.pid_exists(successor), "the end of the new supervisor")


def app_metrics(admin: Admin) -> dict[str, float]:
    """What the application's processes have counted, by the names of the metrics."""
    reply = admin.get("/metrics/app")
    assert reply.status == 200, reply.text
    return {sample.name: sample.value for family in parse_text(reply.text) for sample in family.samples}


def test_what_the_application_counts_is_merged_and_outlives_its_processes(start: Start, tmp_path: Path) -> None:
    directory = tmp_path / "metrics"
    directory.mkdir()
    (directory / "counter_1.db").write_bytes(b"of another service")
    server = start(
        *("tests.e2e.metered_application:app", "--app-dir", str(ROOT), "--port", "0", "--workers", "2"),
        *("--admin", "127.0.0.1:0", "--prometheus-multiproc", str(directory)),
    )
    admin = Admin(server)
    asked = 0
    for step in ("begin", "kill", "reload", "replace the child", "end"):
        for _ in range(20):
            with RawConnection(server.port) as client:  # a connection for each, so that both workers get some
                client.get("/")
            asked += 1
        until(lambda: app_metrics(admin)["busy"] == 2, "two processes")
        found = app_metrics(admin)
        assert (found["jobs_total"], found["job_seconds_count"], found["job_seconds_sum"]) == (asked, asked, asked / 2)
        if step == "kill":
            pid = admin.status()["workers"][0]["pid"]
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: admin.status()["workers"][0]["pid"] != pid, "another worker")  # type: ignore[misc]
            until(lambda: admin.status_of("/readyz") == 200, "its start")
        elif step == "reload":
            server.signal(signal.SIGHUP)
            server.wait_for_log("reloaded in ")
        elif step == "replace the child":
            os.kill(admin.pid, signal.SIGKILL)
    running = {str(worker["pid"]) for worker in admin.status()["workers"]}
    left = {path.stem.rpartition("_")[2] for path in directory.iterdir()}
    assert left == {"0", *running}, "files of ended processes stay"
    assert server.stop() == 0


Totals = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def totals(admin: Admin) -> Totals:
    """All samples of /metrics that may only grow, by name and labels; both forms must be understood."""
    reply = admin.get("/metrics")
    assert reply.status == 200, reply.text
    openmetrics = admin.get("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert list(parse_openmetrics(openmetrics.text))
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_text(reply.text)
        if family.type in ("counter", "histogram") and family.name.startswith("corehttp_")
        for sample in family.samples
    }


def by_status(found: Totals) -> dict[str, float]:
    """How many requests have had a response, by its status."""
    counts: dict[str, float] = {}
    for (name, labels), value in found.items():
        if name == "corehttp_http_requests_total":
            counts[dict(labels)["status"]] = counts.get(dict(labels)["status"], 0) + value
    return counts


class Watcher:
    """Reads /metrics again and again, and finds what has gone back."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.wrong: list[str] = []
        self.looks = 0

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        before: Totals = {}
        while not self._stop.wait(0.05):
            now = totals(self._admin)
            self.wrong += [
                f"{key}: {before[key]} then {now.get(key)}" for key in before if now.get(key, -1) < before[key]
            ]
            before, self.looks = now, self.looks + 1


def test_counters_are_exact_and_never_go_back_over_reloads_kills_scaling_and_a_new_child(
    start: Start, app: ChangingApp, runtime: Path
) -> None:
    server = start(*app.arguments, "--workers", "2", "--admin", "127.0.0.1:0", env=environment(runtime))
    admin = Admin(server)
    asked: dict[str, float] = {"200": 0, "400": 0}

    def ask(count: int) -> None:
        for _ in range(count):
            with RawConnection(server.port) as client:
                client.get("/")
                client.send("GET / HTTP/1.1", "host: a", "bad header", "")
                assert client.answer()[0].startswith(b"HTTP/1.1 400 ")
            asked["200"] += 1
            asked["400"] += 1

    def exact() -> None:
        until(lambda: by_status(totals(admin)) == asked, f"{asked} requests in {by_status(totals(admin))}")

    with Watcher(admin) as watcher:
        ask(20)
        exact()
        app.become("2")
        server.signal(signal.SIGHUP)
        ask(20)
        server.wait_for_log("reloaded in ")
        ask(20)
        exact()
        os.kill(admin.status()["workers"][0]["pid"], signal.SIGKILL)
        until(lambda: admin.status()["workers"][0]["starts"] == 3, "another worker")
        ask(20)
        exact()
        for size in ("+2", "-3"):
            done(verb(runtime, "scale", size))
            ask(20)
        os.kill(admin.pid, signal.SIGKILL)
        ask(20)
        exact()
        until(lambda: watcher.looks > 20, "a few looks")
    assert not watcher.wrong
    found = totals(admin)
    assert found["corehttp_http_request_duration_seconds_count", ()] == asked["200"]
    assert found["corehttp_http_requests_rejected_total", (("reason", "malformed"),)] == asked["400"]
    assert found["corehttp_worker_starts_total", ()] == 2 + 2 + 1 + 2
    causes = {
        dict(labels)["cause"]: value for (name, labels), value in found.items() if name == "corehttp_worker_exits_total"
    }
    assert (causes["reload"], causes["crash"], causes["scale"]) == (2, 1, 3)
    assert found["corehttp_reloads_total", (("result", "success"),)] == 1
    assert found["corehttp_worker_cpu_seconds_total", (("worker", "1"),)] > 0
    assert server.stop() == 0


def test_the_dashboard_shows_the_service_in_a_browser(start: Start, app: ChangingApp, tmp_path: Path) -> None:
    chromium = find_chromium()
    server = start(*app.arguments, "--workers", "2", "--admin", "127.0.0.1:0", "--name", "shop")
    admin = Admin(server)
    with page(chromium, tmp_path) as shown, RawConnection(server.port) as client:
        client.ask("/slow?seconds=50")
        shown.open(f"http://{admin.address[0]}:{admin.address[1]}/")
        shown.wait_for("document.title === 'shop: serving'")
        shown.wait_for("document.querySelectorAll('#workers tr').length === 2")
        shown.wait_for("document.querySelector('#requests .path').textContent === '/slow'")
        app.become("2")
        server.signal(signal.SIGHUP)
        shown.wait_for("document.querySelector('#events').textContent.includes('all workers are of generation 2')")
        with RawConnection(server.port) as blocked:
            blocked.ask("/block?4")
            shown.wait_for("document.querySelector('#events').textContent.includes('its event loop is blocked')")
            shown.wait_for("document.querySelector('#events pre').textContent.includes('changing_app.py')")
        shown.evaluate("document.querySelector('svg').focus()")
        shown.press("ArrowLeft")
        shown.wait_for("document.querySelector('#said').textContent.startsWith('Requests ')")
        assert shown.evaluate("document.querySelector('svg line.cursor').getAttribute('visibility')") == "visible"
        dark, light = (shown.colours(scheme) for scheme in ("dark", "light"))
        assert dark != light
        shown.resize(360, 700)
        shown.wait_for("document.documentElement.scrollWidth <= innerWidth")
        assert len(shown.screenshot()) > 10_000
        for hidden in ("true", "false"):  # a page in the background asks for nothing
            shown.evaluate(f"Object.defineProperty(document, 'hidden', {{value: {hidden}, configurable: true}})")
            shown.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            shown.wait_for(f"(source === null) === {hidden}")
        shown.evaluate("document.querySelector('#pause').click()")
        assert shown.evaluate("document.querySelector('#pause').getAttribute('aria-pressed')") == "true"
        os.kill(admin.pid, signal.SIGKILL)
        shown.evaluate("document.querySelector('#pause').click()")
        shown.wait_for("document.querySelector('#state').textContent === 'serving'")
        assert not [fault for fault in shown.faults if "CONNECTION" not in fault]
    server.stop()


def test_an_upgrade_that_fails_leaves_the_listener_to_the_old_supervisor(
    start: Start, app: ChangingApp, tmp_path: Path
) -> None:
    path = tmp_path / "admin.sock"
    server = start(*app.arguments, "--admin", f"unix:{path}")
    server.wait_for_log("the admin listener serves on")
    app.become_broken()
    server.signal(signal.SIGUSR2)
    server.wait_for_log("has failed: this one serves on")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(path))
        sock.sendall(b"GET /readyz HTTP/1.0\r\n\r\n")
        assert sock.recv(15) == b"HTTP/1.1 200 OK"
    assert server.stop() == 0
    assert not path.exists()


@pytest.mark.parametrize("options", [("--preload",), ("--loop", "asyncio", "--http", "h11"), ("--control", "off")])
def test_other_options_change_nothing(start: Start, options: tuple[str, ...]) -> None:
    server = start(*APP, "--workers", "2", "--admin", "127.0.0.1:0", *options)
    admin = Admin(server)
    with RawConnection(server.port) as client:
        client.get("/")
    until(lambda: by_status(totals(admin)) == {"200": 1}, "the request among the metrics")
    assert all(admin.status_of(path) == 200 for path in (*PROBES, "/", "/status"))
    assert server.stop() == 0
