"""What each path answers, to whom, by which method."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from corehttp.admin.application import AdminApplication
from corehttp.admin.content import Content
from corehttp.admin.exposition import Exposition
from corehttp.admin.stream import STREAMS
from corehttp.admin.supervisor_link import Seen, SupervisorLink
from corehttp.asgi import Message
from corehttp.config import Config
from corehttp.ipc.scoreboard import Scoreboard

OVERVIEW: dict[str, object] = {
    "status": {"name": "shop", "pid": 1, "state": "serving", "workers": [{"slot": 1, "pid": -1, "state": "serving"}]},
    "complete": True,
    "silent": [0.1],
    "ready_min_workers": 1,
    "healthcheck": 30.0,
    "events": [],
}
PUBLIC = ("/livez", "/readyz", "/startupz", "/healthz", "/metrics")
PRIVATE = ("/", "/status", "/metrics/app", "/events", "/nowhere")


class Link:
    def __init__(self) -> None:
        self.seen = Seen(OVERVIEW, 0.0)

    async def look(self, patience: float = 0.0) -> Seen:
        return self.seen

    async def ask(self, verb: str, arguments: Content, patience: float) -> Content | None:
        return None


class Visitor:
    """One request, and what it is sent. `left` is set when the client leaves."""

    def __init__(self, app: AdminApplication, path: str, **given: Any) -> None:
        headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in given.pop("fields", {}).items()]
        self.scope = {
            "type": "http",
            "method": given.get("method", "GET"),
            "path": path,
            "query_string": given.get("query", "").encode(),
            "headers": headers,
            "client": given.get("client", ("127.0.0.1", 5000)),
        }
        self.sent: list[Message] = []
        self.left = asyncio.Event()
        self._app = app
        self._begun = False

    async def receive(self) -> Message:
        if not self._begun:
            self._begun = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def run(self) -> int:
        await self._app(self.scope, self.receive, self.send)
        return self.status

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def fields(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])


class Door:
    def __init__(self, **options: Any) -> None:
        self.board = Scoreboard.create()
        self.board.claim(0)
        self.link = Link()
        config = Config(app="main:app", **{"admin": "127.0.0.1:9100", **options})
        self.app = AdminApplication(config, cast(SupervisorLink, self.link), self.board)

    def visit(self, path: str, **given: Any) -> Visitor:
        return Visitor(self.app, path, **given)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    yield door
    door.board.close()


@pytest.mark.parametrize("path", [*PUBLIC, "/", "/status"])
async def test_each_path_is_answered_for_this_machine(door: Door, path: str) -> None:
    visitor = door.visit(path)
    assert await visitor.run() == 200
    assert visitor.body
    assert int(visitor.fields[b"content-length"]) == len(visitor.body)
    assert visitor.fields[b"cache-control"] == b"no-store"
    assert visitor.fields[b"x-content-type-options"] == b"nosniff"


@pytest.mark.parametrize("path", [*PUBLIC, *PRIVATE])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
async def test_nothing_but_looking_is_possible(door: Door, path: str, method: str) -> None:
    assert await door.visit(path, method=method).run() in (404, 405)


@pytest.mark.parametrize("path", PUBLIC)
async def test_probes_and_metrics_are_for_everybody(door: Door, path: str) -> None:
    assert await door.visit(path, client=("192.0.2.7", 5000)).run() == 200


@pytest.mark.parametrize("path", PRIVATE)
async def test_all_else_is_for_this_machine(door: Door, path: str) -> None:
    visitor = door.visit(path, client=("192.0.2.7", 5000))
    assert await visitor.run() == 403
    assert b"with --admin-token" in visitor.body
    assert b"www-authenticate" not in visitor.fields


@pytest.mark.parametrize("path", PRIVATE)
async def test_with_a_token_who_has_none_is_asked_for_it(path: str) -> None:
    door = Door(admin_token="sesame-sesame")
    visitor = door.visit(path, client=("192.0.2.7", 5000))
    assert await visitor.run() == 401
    assert visitor.fields[b"www-authenticate"].startswith(b"Basic ")
    door.board.close()


@pytest.mark.parametrize("path", [*PUBLIC, *PRIVATE])
async def test_a_page_of_a_stranger_sees_nothing(door: Door, path: str) -> None:
    assert await door.visit(path, fields={"host": "evil.example"}).run() == 403


async def test_the_first_host_field_counts_and_the_host_of_the_option_is_ours() -> None:
    door = Door(admin="admin.example:9100")
    assert await door.visit("/status", fields={"host": "Admin.Example:9100"}).run() == 200
    visitor = door.visit("/status")
    visitor.scope["headers"] = [(b"host", b"evil.example"), (b"host", b"localhost")]
    assert await visitor.run() == 403
    door.board.close()


async def test_a_probe_says_why_it_fails_and_why_not_if_asked(door: Door) -> None:
    door.link.seen = Seen({**OVERVIEW, "ready_min_workers": 2}, 0.0)
    failed, verbose = door.visit("/readyz"), door.visit("/livez", query="a=b&verbose")
    assert (await failed.run(), await verbose.run()) == (503, 200)
    assert failed.body.splitlines()[2] == b"workers that serve: 1, needed: 2 (--ready-min-workers)"
    assert verbose.body.splitlines()[1] == b"the supervisor answers"
    plain = door.visit("/livez", query="verbosely")
    await plain.run()
    assert plain.body == b"ok\n"


async def test_the_status_is_that_of_the_verb(door: Door) -> None:
    visitor = door.visit("/status")
    await visitor.run()
    content = json.loads(visitor.body)
    assert (content["schema"], content["name"]) == (1, "shop")
    assert content["workers"] == [{"slot": 1, "pid": -1, "state": "serving", "cpu_percent": None}]


async def test_a_supervisor_that_is_stuck_has_no_status_but_metrics(door: Door) -> None:
    door.link.seen = Seen(OVERVIEW, 60.0)
    assert await door.visit("/status").run() == 503
    assert await door.visit("/metrics").run() == 200
    door.link.seen = Seen(None, 1.0)
    later = Door()
    later.link.seen = Seen(None, 1.0)
    assert await later.visit("/metrics").run() == 503
    later.board.close()


async def test_metrics_are_made_once_for_many_and_in_the_form_that_is_asked_for(door: Door) -> None:
    visitors = [door.visit("/metrics") for _ in range(3)]
    for visitor in visitors:
        await visitor.run()
    assert len({id(visitor.sent[1]["body"]) for visitor in visitors}) == 1
    openmetrics = door.visit("/metrics", fields={"accept": "application/openmetrics-text; version=1.0.0"})
    await openmetrics.run()
    assert openmetrics.fields[b"content-type"].startswith(b"application/openmetrics-text; version=1.0.0")
    assert openmetrics.body.endswith(b"# EOF\n")


async def test_all_forms_of_metrics_are_of_one_moment(door: Door) -> None:
    """A counter that one form shows must not be smaller in another one that is asked for a moment later."""
    forms = ["text/plain", "application/openmetrics-text; version=1.0.0"]
    shown = []
    for accept in (*forms, *forms):
        visitor = door.visit("/metrics", fields={"accept": accept})
        await visitor.run()
        shown.append(re.findall(rb"^corehttp_http_requests_in_flight.*", visitor.body, re.MULTILINE))
        if accept == forms[0]:
            door.link.seen = Seen(
                {**OVERVIEW, "status": {**cast(dict[str, object], OVERVIEW["status"]), "workers": []}}, 0.0
            )
    assert shown == [shown[0]] * 4
    assert len(shown[0]) == 1


async def test_without_the_package_metrics_say_what_is_missing(
    door: Door, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "corehttp.error")
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    exposition = Exposition(Config(app="a", admin="localhost:0"), cast(SupervisorLink, door.link), door.board)
    assert "/metrics answers 501: prometheus_client is not installed" in caplog.text
    page = await exposition.service("")
    assert (page.status, b"corehttp-server[metrics]" in page.body) == (501, True)
    await exposition.prune()


async def test_metrics_of_the_application_need_a_directory_that_can_be_read(tmp_path: Any) -> None:
    without, gone, there = (
        Door(),
        Door(prometheus_multiproc=f"{tmp_path}/gone"),
        Door(prometheus_multiproc=f"{tmp_path}"),
    )
    for door, status in ((without, 404), (gone, 503), (there, 200)):
        assert await door.visit("/metrics/app").run() == status
        door.board.close()


async def test_events_begin_with_the_past_and_go_on_with_each_look(door: Door) -> None:
    recorder = door.app._recorder
    await recorder.look()
    visitor = door.visit("/events")
    running = asyncio.ensure_future(visitor.run())
    while visitor.body.count(b"event: now") < 1:
        await asyncio.sleep(0)
    for count in (2, 3):
        await recorder.look()
        while visitor.body.count(b"event: now") < count:
            await asyncio.sleep(0)
    assert visitor.fields[b"content-type"] == b"text/event-stream"
    names = [line for line in visitor.body.splitlines() if line.startswith(b"event: ")]
    assert names == [b"event: history", b"event: past", *[b"event: now"] * 3]
    visitor.left.set()
    await running
    assert visitor.sent[-1].get("more_body", False) is False


async def test_events_go_on_while_the_supervisor_says_nothing_new_and_show_what_is_new(door: Door) -> None:
    recorder = door.app._recorder
    await recorder.look()
    visitor = door.visit("/events")
    running = asyncio.ensure_future(visitor.run())
    event = {"number": 1, "at": "2026-11-30T12:00:00+00:00", "kind": "exit", "ok": True, "text": "worker 1 has ended"}
    while b"event: now" not in visitor.body:
        await asyncio.sleep(0)
    door.link.seen = Seen({**OVERVIEW, "events": [event]}, 0.0)
    await recorder.look()
    while b"worker 1 has ended" not in visitor.body:
        await asyncio.sleep(0)
    visitor.left.set()
    await running


async def test_so_many_may_look_at_once_and_one_who_leaves_makes_room(door: Door) -> None:
    await door.app._recorder.look()
    visitors = [door.visit("/events") for _ in range(STREAMS)]
    running = [asyncio.ensure_future(visitor.run()) for visitor in visitors]
    while not all(b"event: now" in visitor.body for visitor in visitors):
        await asyncio.sleep(0)
    assert await door.visit("/events").run() == 503
    visitors[0].left.set()
    await running[0]
    last = door.visit("/events", method="HEAD")
    assert await last.run() == 200
    for visitor in visitors:
        visitor.left.set()
    await asyncio.gather(*running)
