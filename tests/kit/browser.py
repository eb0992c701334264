"""Chromium without a window, and what a page in it can be asked through the DevTools protocol."""

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.kit.server_process import PATIENCE, until

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    "--ignore-certificate-errors",  # those of the tests' own authority
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)


def find_chromium() -> str:
    """The browser's path; without one the test fails in continuous integration, and is skipped elsewhere."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"there is no browser: install one of {', '.join(NAMES)}")
    if found is None:
        pytest.skip(f"there is no browser: none of {', '.join(NAMES)} is installed")
    return found


class Page:
    """A page in a browser of its own; `faults` has what the browser reports of failed requests and errors."""

    def __init__(self, devtools: ClientConnection) -> None:
        self._devtools = devtools
        self._last = 0
        self.faults: list[str] = []
        for domain in ("Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")

    def open(self, url: str) -> None:
        """Navigate to the URL."""
        self._call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; None where it raises an error."""
        return self._call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait_for(self, expression: str, seconds: float = PATIENCE) -> Any:
        """The first true value of the expression; fails with what the page has said."""
        try:
            return until(lambda: self.evaluate(expression), f"{expression!r} in the page", seconds)
        except AssertionError as error:
            text = self.evaluate("document.body.innerText")
            raise AssertionError(f"{error}; the page: {text!r}; faults: {self.faults}") from None

    def press(self, key: str) -> None:
        """Press a key that is no letter, and let it go."""
        for kind in ("rawKeyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key=key)

    def colours(self, scheme: str) -> str:
        """The colours of the page and its text for who wants it `light` or `dark`."""
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        style = "getComputedStyle(document.body)"
        return str(self.evaluate(f"{style}.backgroundColor + {style}.color"))

    def resize(self, width: int, height: int) -> None:
        """Have a window of so many pixels."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=True)

    def screenshot(self) -> bytes:
        """The whole page as a PNG."""
        content = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(content["data"])

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._last += 1
        self._devtools.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while (message := json.loads(self._devtools.recv(PATIENCE))).get("id") != self._last:
            self._hear(message)
        result: dict[str, Any] = message.get("result", {})
        return result

    def _hear(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        method = event.get("method")
        if method == "Runtime.exceptionThrown":
            self.faults.append(str(parameters["exceptionDetails"]))
        elif method == "Network.responseReceived" and parameters["response"]["status"] >= 400:
            self.faults.append(f"{parameters['response']['status']} {parameters['response']['url']}")
        elif method == "Network.loadingFailed" and not parameters.get("canceled"):
            self.faults.append(parameters["errorText"])


@contextlib.contextmanager
def browser(chromium: str, directory: Path, *arguments: str) -> Iterator[Path]:
    """Run a browser with an empty profile, and yield the profile's directory; at the end kill all its processes."""
    profile = directory / "browser"
    profile.mkdir()
    with (directory / "browser.log").open("wb") as log:
        process = subprocess.Popen(
            [chromium, *QUIET, f"--user-data-dir={profile}", *arguments],
            env={**os.environ, "HOME": str(profile)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield profile
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        for pid in (process.pid, *(child.pid for child in children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(PATIENCE)


@contextlib.contextmanager
def page(chromium: str, directory: Path) -> Iterator[Page]:
    """An empty page in a browser of its own."""
    with browser(chromium, directory, "--remote-debugging-port=0", "about:blank") as profile:
        file = profile / "DevToolsActivePort"
        port = until(lambda: file.exists() and file.read_text().split("\n")[0], "the browser", PATIENCE)

        def find() -> str | None:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE) as answer:
                targets = json.load(answer)
            return next((target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page"), None)

        url = until(find, "the browser's page", PATIENCE)
        with connect(url, max_size=None, open_timeout=PATIENCE, close_timeout=0.1, proxy=None) as devtools:
            yield Page(devtools)
