"""A service over TLS with real processes: it reloads and stops, and real clients use it."""

import asyncio
import json
import signal
import socket
import ssl
import subprocess
import urllib.request
from pathlib import Path
from shutil import which

import httpx
import pytest
import websockets

from tests.e2e.conftest import Start
from tests.kit.certificates import Authority
from tests.kit.changing import ChangingApp
from tests.kit.extent import varied
from tests.kit.server_process import APP, PATIENCE, until

pytestmark = pytest.mark.e2e

NODE = """
const https = require("https"), fs = require("fs");
const ca = fs.readFileSync("ca.pem"), cert = fs.readFileSync("client.crt"), key = fs.readFileSync("client.key");
https.get({host: "localhost", port: process.argv[2], path: "/", ca, cert, key}, (response) => {
  response.on("data", (data) => process.stdout.write(data));
});
"""


class Credentials:
    """An authority, and a certificate of the server that it has issued, in a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority()
        (directory / "ca.pem").write_bytes(self.authority.pem)
        self.authority.issue("localhost", "127.0.0.1").write(directory, "server")
        self.options = ("--ssl-certfile", "server.crt", "--ssl-keyfile", "server.key", "--port", "0")
        self.context = ssl.create_default_context(cafile=str(directory / "ca.pem"))


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    return Credentials(tmp_path)


def test_a_reload_loses_no_request_and_ends_the_connections_of_the_old_workers(
    start: Start, credentials: Credentials, tmp_path: Path
) -> None:
    app = ChangingApp(tmp_path)
    app.become("1")
    server = start(*app.arguments, *credentials.options, "--shutdown-idle-grace", "0.1")
    assert server.url.startswith("https://127.0.0.1:")
    with httpx.Client(verify=credentials.context) as busy, httpx.Client(verify=credentials.context) as idle:
        assert busy.get(server.url).text == idle.get(server.url).text == "1"
        app.become("2")
        server.signal(signal.SIGHUP)
        until(lambda: busy.get(server.url).text == "2", "the new code")
        server.wait_for_log("reloaded in ")
        answer = idle.get(server.url)  # on the connection to the old worker, which waits for its client
        assert (answer.text, answer.headers.get("connection")) == ("1", "close")
        assert idle.get(server.url).text == "2"
        began = busy.get(server.url).text
        assert (began, server.stop()) == ("2", 0)
    assert "Traceback" not in server.stderr


def test_a_stop_finishes_what_is_in_flight_and_holds_out_against_a_stalled_handshake(
    start: Start, credentials: Credentials
) -> None:
    server = start(*APP, *credentials.options)
    address = ("127.0.0.1", server.port)
    with (
        socket.create_connection(address) as stalled,
        socket.create_connection(address, PATIENCE) as cleartext,
        credentials.context.wrap_socket(cleartext, server_hostname="localhost") as client,
    ):
        stalled.send(b"\x16\x03\x01")
        client.sendall(b"GET /slow?seconds=1.1 HTTP/1.1\r\nhost: localhost\r\n\r\n")
        until(lambda: "sleeping" in events(credentials.directory), "the request")
        server.signal(signal.SIGTERM)
        answer = b""
        while data := client.recv(65536):
            answer += data
        assert b"slept" in answer
        assert b"connection: close\r\n" in answer
        assert server.wait() == 0


def events(directory: Path) -> str:
    file = directory / "events"
    return file.read_text() if file.exists() else ""


def test_a_websocket_over_tls_is_served_and_leaves_in_a_reload(start: Start, credentials: Credentials) -> None:
    server = start("tests.e2e.websocket_application:app", *credentials.options)

    async def main() -> None:
        url = server.url.replace("https", "wss").replace("127.0.0.1", "localhost") + "/echo"
        async with asyncio.timeout(PATIENCE), websockets.connect(url, ssl=credentials.context) as socket:
            await socket.send("x" * 100_000)
            assert await socket.recv() == "x" * 100_000
            server.signal(signal.SIGHUP)
            with pytest.raises(websockets.ConnectionClosed) as caught:
                await socket.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1012

    asyncio.run(main())


@pytest.mark.parametrize("program", varied("openssl", "curl", "node"))
def test_clients_with_certificates_are_served(start: Start, credentials: Credentials, program: str) -> None:
    if which(program) is None:
        pytest.skip(f"there is no {program}")
    directory = credentials.directory
    credentials.authority.issue(common_name="a client").write(directory, "client")
    mutual = ("--ssl-ca-certs", "ca.pem", "--ssl-cert-reqs", "required")
    server = start("tests.e2e.tls_application:app", *credentials.options, *mutual)
    (directory / "client.js").write_text(NODE)
    files = ("-CAfile", "ca.pem", "-cert", "client.crt", "-key", "client.key")
    command, sent = {
        "curl": (["curl", "-sS", "--cacert", "ca.pem", "--cert", "client.crt", "--key", "client.key", server.url], ""),
        "node": (["node", "client.js", str(server.port)], ""),
        "openssl": (
            ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{server.port}", "-verify_return_error", *files],
            "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        ),
    }[program]
    done = subprocess.run(command, cwd=directory, input=sent, capture_output=True, text=True, timeout=PATIENCE)
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["scheme"], told["name"]) == ("https", "CN=a client"), done.stderr


def test_a_redirect_leads_to_the_service(start: Start, credentials: Credentials) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours:
        number = ours.getsockname()[1]
    server = start(*APP, *credentials.options, "--redirect-http", f"127.0.0.1:{number}", "--workers", "2")
    address = f"http://localhost:{number}/who?a=b"
    with urllib.request.urlopen(address, context=credentials.context, timeout=PATIENCE) as answer:
        assert answer.url == f"https://localhost:{server.port}/who?a=b"
        assert json.load(answer)["path"] == "/who"


def test_a_key_of_another_certificate_ends_the_start_with_its_name(start: Start, credentials: Credentials) -> None:
    credentials.authority.issue("localhost").write(credentials.directory, "other")
    server = start(*APP, "--ssl-certfile", "server.crt", "--ssl-keyfile", "other.key", "--port", "0", ready=False)
    assert server.wait() in (2, 3)
    assert "other.key" in server.stderr
    assert "Traceback" not in server.stderr
