"""Behind real proxies: who the client is, and where it thinks it is.

FastAPI answers a path without its last slash with a redirect, for which it needs scheme, host and prefix.
"""

import json
import os
import re
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from websockets.sync.client import connect

from tests.e2e.conftest import Start
from tests.kit.proxies import SPOOFED, STRANGER, Proxies, Proxy, haproxy_config, nginx_config
from tests.kit.server_process import PATIENCE, ROOT, ServerProcess, until

pytestmark = pytest.mark.e2e

APP = ("tests.e2e.proxied_application:app", "--app-dir", str(ROOT))
# What the proxies of the tests say: they stand for ones that end TLS.
NGINX = """
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    server {{
        listen 127.0.0.1:{port};
        underscores_in_headers on;
        location / {{
            proxy_pass {upstream};
            proxy_http_version 1.1;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto https;
            proxy_set_header X-Forwarded-Host example.org;
            proxy_set_header X-Forwarded-Port 443;
            proxy_set_header X-Forwarded-Prefix /api;
        }}
    }}
"""
HAPROXY = """
frontend public
    bind 127.0.0.1:{port}
    option forwardfor
    http-request set-header X-Forwarded-Proto https
    http-request set-header X-Forwarded-Host example.org
    http-request set-header X-Forwarded-Port 443
    http-request set-header X-Forwarded-Prefix /api
    default_backend app
backend app
    server one {upstream}
"""

Behind = Callable[[ServerProcess], Proxy]


@pytest.fixture(params=["nginx", "haproxy"])
def behind(request: pytest.FixtureRequest, proxies: Proxies) -> Behind:
    """Puts a proxy in front of a server."""

    def behind(server: ServerProcess) -> Proxy:
        def nginx(port: int, directory: Path) -> str:
            upstream = f"http://{server.url}:" if server.url.startswith("unix:") else server.url
            return nginx_config(NGINX.format(port=port, upstream=upstream))

        def haproxy(port: int, directory: Path) -> str:
            upstream = f"unix@{server.uds}" if server.url.startswith("unix:") else f"127.0.0.1:{server.port}"
            return haproxy_config(HAPROXY.format(port=port, upstream=upstream))

        return proxies.nginx(nginx) if request.param == "nginx" else proxies.haproxy(haproxy)

    return behind


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may enter, unlike a test's own."""
    with TemporaryDirectory(prefix="corehttp-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture(params=["tcp", "unix"])
def server(request: pytest.FixtureRequest, start: Start, open_directory: Path) -> ServerProcess:
    """A server on either kind of socket, as it is without options about proxies."""
    return start(*APP, *(("--port", "0") if request.param == "tcp" else ("--uds", f"{open_directory}/app.sock")))


@pytest.fixture
def stranger() -> Iterator[httpx.Client]:
    """A client that no proxy and no server has reason to trust."""
    with httpx.Client(transport=httpx.HTTPTransport(local_address=STRANGER)) as client:
        yield client


def test_redirects_lead_to_the_public_address(server: ServerProcess, behind: Behind, stranger: httpx.Client) -> None:
    proxy = behind(server)
    for headers in ({}, SPOOFED):
        response = stranger.get(f"{proxy.url}/items", headers=headers)
        assert response.status_code == 307
        assert response.headers["location"] == "https://example.org/api/items/"


@pytest.mark.feature
def test_the_client_is_whom_the_proxy_has_seen_and_not_whom_it_invents(
    server: ServerProcess, behind: Behind, stranger: httpx.Client
) -> None:
    proxy = behind(server)
    for headers in ({}, SPOOFED):
        said = stranger.get(f"{proxy.url}/who", headers=headers).json()
        assert said["client"] == [STRANGER, 0]
        assert said["scheme"] == "https"
        assert said["server"] == ["example.org", 443]
        assert said["url"] == "https://example.org/api/who"
        assert not [name for name in said["headers"] if "_" in name]
    until(lambda: server.stdout.count('"GET /who') == 2, "the access log")
    assert re.findall(r"\] (\S+) \"GET /who", server.stdout) == [STRANGER] * 2
    assert "forwarded" not in server.stderr


@pytest.mark.feature
def test_a_websocket_through_tls_is_wss(server: ServerProcess, behind: Behind) -> None:
    proxy = behind(server)
    url = f"ws://127.0.0.1:{proxy.port}/who"
    with connect(url, source_address=(STRANGER, 0), additional_headers=SPOOFED) as client:
        said = json.loads(client.recv(PATIENCE))
    assert said["client"] == [STRANGER, 0]
    assert said["scheme"] == "wss"
    assert said["url"] == "wss://example.org/api/who"
    until(lambda: re.search(rf'\] {STRANGER} "WS \S+" closed', server.stdout), "the access log")


def test_a_proxy_that_is_not_trusted_is_named_once_and_not_believed(
    start: Start, behind: Behind, stranger: httpx.Client
) -> None:
    server = start(*APP, "--port", "0", env={"FORWARDED_ALLOW_IPS": "10.0.0.0/8, unix"})
    proxy = behind(server)
    for _ in range(3):
        said = stranger.get(f"{proxy.url}/who", headers=SPOOFED).json()
        assert said["client"][0] == "127.0.0.1"
        assert said["scheme"] == "http"
        assert not [name for name in said["headers"] if "forwarded" in name or "real" in name]
    server.wait_for_log(r"127\.0\.0\.1:\d+ is no trusted proxy, .* add 127\.0\.0\.1 to --forwarded-allow-ips")
    assert server.stderr.count("--forwarded-allow-ips") == 1


def test_without_proxy_headers_an_application_may_judge_itself(start: Start, behind: Behind) -> None:
    server = start(*APP, "--port", "0", "--no-proxy-headers")
    said = httpx.get(f"{behind(server).url}/who", headers={"Forwarded": "for=203.0.113.66"}).json()
    assert said["scheme"] == "http"
    assert said["headers"]["x-forwarded-proto"] == "https"
    assert said["headers"]["forwarded"] == "for=203.0.113.66"
    assert "forwarded" not in server.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a proxy as another user")
def test_a_unix_socket_lets_in_whom_its_permissions_allow(start: Start, behind: Behind, open_directory: Path) -> None:
    path = open_directory / "app.sock"
    server = start(*APP, "--uds", str(path), "--uds-permissions", "600")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert httpx.get(f"{behind(server).url}/who").status_code in (502, 503)
    assert server.stop() == 0
    previous = os.umask(0o077)  # which the server inherits
    try:
        server = start(*APP, "--uds", str(path), "--workers", "2")
    finally:
        os.umask(previous)
    proxy = behind(server)

    def lets_in() -> bool:
        return stat.S_IMODE(path.stat().st_mode) == 0o666 and httpx.get(f"{proxy.url}/who").status_code == 200

    assert lets_in()
    server.signal(signal.SIGHUP)
    server.wait_for_log("reloaded in")
    assert lets_in()
    server.signal(signal.SIGUSR2)
    successor = int(server.wait_for_log(r"the new supervisor \(pid (\d+)\) is ready").group(1))
    assert server.wait() == 0
    assert lets_in()
    os.kill(successor, signal.SIGTERM)
    until(lambda: not server.processes(), "the end of the successor")


def test_an_upgrade_does_not_fail_over_a_path_that_somebody_has_removed(start: Start, open_directory: Path) -> None:
    path = open_directory / "app.sock"
    server = start(*APP, "--uds", str(path))
    path.unlink()
    server.signal(signal.SIGUSR2)
    successor = int(server.wait_for_log(r"the new supervisor \(pid (\d+)\) is ready").group(1))
    assert server.wait() == 0
    until(lambda: "cannot be given the permissions 666 (--uds-permissions)" in server.stderr, "the warning")
    os.kill(successor, signal.SIGTERM)
    until(lambda: not server.processes(), "the end of the successor")
