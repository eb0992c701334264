"""Real applications and frameworks, installed as their users have them: each is served and used from end to end.

`make applications` installs them and runs this file; the ordinary tests do not collect it.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Start
from tests.kit.browser import Page, find_chromium, page
from tests.kit.server_process import PATIENCE, ROOT, ServerProcess

ONE = ("--workers", "1")
TWO = ("--workers", "2")
PRELOADED = ("--workers", "2", "--preload")
ways = pytest.mark.parametrize("workers", [ONE, TWO, PRELOADED], ids=["one worker", "two workers", "preloaded"])
STICKY = ("--workers", "2", "--sticky", "cookie", "--rescue-after", "60")
# What keeps a visitor's state in its process is served by one, or by several to which their visitors are tied.
stateful = pytest.mark.parametrize(
    "workers", [ONE, (*ONE, "--preload"), STICKY], ids=["one worker", "preloaded", "two workers, sticky"]
)


EVENTS = ("direct", "queued", "streamed")  # buttons of the Gradio interface


class Serve:
    """Starts an application of this package, after its `prepare()` if it has one to run."""

    def __init__(self, start: Start, directory: Path) -> None:
        self._start = start
        self._directory = directory

    def __call__(self, name: str, workers: tuple[str, ...], *, prepare: bool = False) -> ServerProcess:
        module, _, _ = name.partition(":")
        if prepare:
            code = f"from {__package__}.{module} import prepare; prepare()"
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            subprocess.run([sys.executable, "-c", code], cwd=self._directory, env=env, check=True, timeout=PATIENCE)
        return self._start(f"{__package__}.{name}", "--app-dir", str(ROOT), "--port", "0", *workers)


@pytest.fixture
def serve(start: Start, tmp_path: Path) -> Serve:
    return Serve(start, tmp_path)


@pytest.fixture
def browser_page(tmp_path: Path) -> Iterator[Page]:
    with page(find_chromium(), tmp_path) as opened:
        yield opened


def check_end(server: ServerProcess) -> None:
    """It stops cleanly, and no error was logged."""
    assert server.stop() == 0, server.stderr
    assert " ERROR " not in server.stderr, server.stderr


@ways
@pytest.mark.parametrize("adapter", ["through_asgiref", "through_a2wsgi"])
def test_flask_answers_everybody_for_himself(serve: Serve, adapter: str, workers: tuple[str, ...]) -> None:
    server = serve(f"flask_app:{adapter}", workers)

    def visit(number: int) -> list[tuple[str, str]]:
        answers = []
        with httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as client:
            for turn in range(8):
                name = f"visitor-{number}-{turn}"
                size = turn % 2 * 70_000
                url = f"/echo/{name}?name={name}"
                answer = client.post(url, content=b"x" * size) if size else client.get(url)
                answers.append((answer.text, f"{name} {name} {name} {size}"))
        return answers

    with ThreadPoolExecutor(16) as pool:
        answers = [answer for visit in pool.map(visit, range(16)) for answer in visit]
    assert [pair for pair in answers if pair[0] != pair[1]] == []
    check_end(server)


@ways
def test_djangos_admin_lets_a_user_in_and_has_its_style(serve: Serve, workers: tuple[str, ...]) -> None:
    server = serve("django_app:app", workers, prepare=True)
    with httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False, follow_redirects=True) as client:
        form = client.get("/admin/")
        assert form.url.path == "/admin/login/"
        for style in re.findall(r'href="(/static/[^"]+)"', form.text):
            assert client.get(style).status_code == 200
        fields = {
            "username": "admin",
            "password": "secret",
            "csrfmiddlewaretoken": client.cookies["csrftoken"],
            "next": "/admin/",
        }
        site = client.post("/admin/login/", data=fields, headers={"referer": f"{server.url}/admin/login/"})
        assert (site.url.path, site.status_code) == ("/admin/", 200)
        assert "Site administration" in site.text
        assert client.get("/admin/auth/user/").text.count("admin@example.org") == 1
        assert client.get("/static/admin/nothing.css").status_code == 404
    check_end(server)


@ways
def test_datasette_shows_queries_and_exports_its_tables(serve: Serve, workers: tuple[str, ...]) -> None:
    server = serve("datasette_app:app", workers, prepare=True)
    with httpx.Client(base_url=server.url, timeout=PATIENCE, trust_env=False) as client:
        for _ in range(4):
            assert "250 rows" in client.get("/birds/birds").text
            query = {"sql": "select count(*) as number from birds", "_shape": "array"}
            assert client.get("/birds.json", params=query).json() == [{"number": 250}]
            assert client.get("/birds/birds.csv", params={"_stream": "1"}).text.count("\n") == 251
            assert client.get("/-/static/app.css").status_code == 200
    check_end(server)


@pytest.mark.parametrize(
    ("workers", "events"),
    [(ONE, EVENTS), ((*ONE, "--preload"), EVENTS), (TWO, ("direct",)), (STICKY, EVENTS)],
    ids=["one worker", "preloaded", "two workers", "two workers, sticky"],
)
def test_gradio_loads_and_answers_in_a_browser(
    serve: Serve, browser_page: Page, workers: tuple[str, ...], events: tuple[str, ...]
) -> None:
    server = serve("gradio_app:app", workers)
    browser_page.open(server.url)
    expected = {"direct": "Hello, world!", "queued": "Hello, world!", "streamed": "world done"}
    for event in events:
        browser_page.wait_for(f"!!document.querySelector('#ask-{event}')")
        browser_page.evaluate(f"document.querySelector('#ask-{event}').click()")
        field = f"document.querySelector('#{event} textarea, #{event} input').value"
        browser_page.wait_for(f"{field} == '{expected[event]}'")
    assert browser_page.faults == []
    check_end(server)


def greet(browser_page: Page) -> None:
    """Press the button of the NiceGUI page, once its WebSocket is there."""
    browser_page.wait_for("window.socket && window.socket.connected")
    browser_page.wait_for("document.body.innerText.includes('not yet')")
    browser_page.evaluate("document.querySelector('button').click()")
    browser_page.wait_for("document.body.innerText.includes('Hello, NiceGUI!')")


@stateful
def test_nicegui_answers_a_click_over_its_websocket(serve: Serve, browser_page: Page, workers: tuple[str, ...]) -> None:
    server = serve("nicegui_app:app", workers)
    browser_page.open(server.url)
    greet(browser_page)
    assert browser_page.faults == []
    check_end(server)


@pytest.mark.parametrize("visit", range(2))
def test_a_visitor_of_several_workers_goes_on_after_a_reload(serve: Serve, browser_page: Page, visit: int) -> None:
    server = serve("nicegui_app:app", STICKY)
    browser_page.open(server.url)
    greet(browser_page)
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded in ")
    greet(browser_page)  # the page finds out that its client is not known any more, and loads itself anew
    check_end(server)
