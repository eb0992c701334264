"""WebSockets of a page in a real browser."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.kit.browser import browser, find_chromium
from tests.kit.certificates import Authority
from tests.kit.extent import varied
from tests.kit.server_process import PATIENCE, ROOT, until

pytestmark = pytest.mark.e2e

APP = ("tests.e2e.websocket_application:app", "--app-dir", str(ROOT), "--port", "0")
HEARD = ["grüße", "long " * 20_000, [0, 1, 254, 255]]  # what the page says, and hears again


@pytest.fixture
def chromium() -> str:
    return find_chromium()


def reports(directory: Path, count: int) -> list[dict[str, Any]]:
    """The first reports of the page."""
    file = directory / "reports"

    def look() -> list[str] | None:
        lines = file.read_text().splitlines() if file.exists() else []
        return lines if len(lines) >= count else None

    return [json.loads(line) for line in until(look, f"{count} reports of the page", 2 * PATIENCE)]


def check_first(report: dict[str, Any]) -> None:
    assert report["protocol"] == "chat"
    assert report["extensions"].startswith("permessage-deflate")
    assert report["heard"] == HEARD


@pytest.mark.parametrize("scheme", varied("http", "https"))
def test_a_page_says_something_hears_it_again_and_leaves(
    chromium: str, start: Start, tmp_path: Path, scheme: str
) -> None:
    certificate, key = Authority().issue("127.0.0.1").write(tmp_path / "tls")
    over_tls = ("--ssl-certfile", certificate, "--ssl-keyfile", key) if scheme == "https" else ()
    server = start(*APP, *over_tls)
    assert server.url.startswith(f"{scheme}://")
    url = f"{server.url}/page?leave=&socket={server.url.replace('http', 'ws')}/echo"
    with browser(chromium, tmp_path, url):
        first, last = reports(tmp_path, 2)
    check_first(first)
    assert (last["code"], last["clean"]) == (3001, True)
    assert "disconnect 3001 'enough'" in (tmp_path / "events").read_text()
    assert server.stop() == 0


def test_a_page_is_told_that_the_server_restarts(chromium: str, start: Start, tmp_path: Path) -> None:
    site = start(*APP)  # serves the page, and hears its reports
    server = start(*APP)
    with browser(chromium, tmp_path, f"{site.url}/page?socket={server.url.replace('http', 'ws')}/echo"):
        [first] = reports(tmp_path, 1)
        check_first(first)
        assert server.stop() == 0
        _, last = reports(tmp_path, 2)
    assert last == {"code": 1012, "reason": "the server is restarting", "clean": True}
    assert site.stop() == 0
