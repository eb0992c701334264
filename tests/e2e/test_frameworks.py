"""The ASGI interfaces as real frameworks use them: the same application in each, with a real client."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.kit.extent import varied
from tests.kit.server_process import PATIENCE, ServerProcess

pytestmark = pytest.mark.e2e

# The first of each are run by `make check`.
FRAMEWORKS = ("fastapi", "django", "django_wsgi", "flask_wsgi", "litestar", "quart", "starlette")
WITH_LIFESPAN = ("fastapi", "litestar", "quart", "starlette")  # Django refuses its scope, and WSGI knows none
WITH_WEBSOCKETS = (*WITH_LIFESPAN, "channels")


class Servers(dict[str, ServerProcess]):
    """One server for each framework, which is started when it is asked for first."""

    def __init__(self, paths: pytest.TempPathFactory) -> None:
        super().__init__()
        self._paths = paths

    def __missing__(self, name: str) -> ServerProcess:
        arguments = (f"tests.e2e.frameworks.{name}_app:app", "--port", "0")
        server = self[name] = ServerProcess(arguments, self._paths.mktemp(name))
        server.wait_until_ready()
        return server


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(tmp_path_factory)
    try:
        yield servers
    finally:
        for server in servers.values():
            server.end()


@pytest.fixture(params=varied(*FRAMEWORKS))
def client(request: pytest.FixtureRequest, servers: Servers) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=servers[request.param].url) as client:
        yield client


def test_hello(client: httpx.Client) -> None:
    response = client.get("/hello")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    assert response.text == "hello"
    head = client.head("/hello")
    assert head.content == b""
    assert client.get("/nowhere").status_code == 404


def test_a_json_body_comes_back(client: httpx.Client) -> None:
    note = {"text": "grüße", "numbers": [1, 2.5, None]}
    assert client.post("/echo", json=note).json() == note
    large = {"text": "x" * 300_000}
    assert client.post("/echo", json=large).json() == large


def test_a_form_with_a_file_is_uploaded(client: httpx.Client) -> None:
    for size in (0, 300_000):
        response = client.post("/form", data={"name": "grüße"}, files={"file": ("a.bin", os.urandom(size))})
        assert response.json() == {"name": "grüße", "size": size}


def test_a_stream_arrives_whole(client: httpx.Client) -> None:
    for _ in range(2):  # on one connection
        response = client.get("/stream")
        assert response.headers["transfer-encoding"] == "chunked"
        assert response.text == "line 0\nline 1\nline 2\n"


def test_a_file_arrives_whole(client: httpx.Client, tmp_path: Path) -> None:
    for size in (0, 1, 1_000_000):
        path = tmp_path / f"{size}.bin"
        path.write_bytes(os.urandom(size))
        response = client.get("/file", params={"path": str(path)})
        assert response.status_code == 200
        assert response.content == path.read_bytes()


@pytest.mark.parametrize(
    ("target", "rest"),
    [("a/b", "a/b"), ("a%2Fb", "a/b"), ("gr%C3%BC%C3%9Fe", "grüße"), ("a%20b+c", "a b+c"), ("%F0%9F%90%8D", "🐍")],
)
def test_a_path_is_decoded(client: httpx.Client, target: str, rest: str) -> None:
    assert client.get(f"/path/{target}").json() == {"rest": rest}


def test_cookies_come_and_go(client: httpx.Client) -> None:
    response = client.get("/cookies", headers={"cookie": "a=1; b=2"})
    assert response.json() == {"a": "1", "b": "2"}
    assert [line.partition(";")[0] for line in response.headers.get_list("set-cookie")] == ["seen=1", "often=2"]
    assert client.get("/cookies").json() == {"seen": "1", "often": "2"}


@pytest.mark.parametrize("client", WITH_LIFESPAN, indirect=True)
def test_what_the_lifespan_has_made_is_there(client: httpx.Client) -> None:
    assert client.get("/state").json() == {"started": "yes"}


# WebSockets.


@pytest.fixture(params=varied(*WITH_WEBSOCKETS))
def chat(request: pytest.FixtureRequest, servers: Servers) -> str:
    """Where the chat of a framework is."""
    return f"{servers[request.param].url.replace('http', 'ws')}/chat"


def enter(url: str) -> ClientConnection:
    return connect(url, subprotocols=[Subprotocol("talk"), Subprotocol("chat")])


def test_a_chat_says_what_it_hears_until_it_is_told_bye(chat: str) -> None:
    with enter(f"{chat}/kitchen") as client:
        assert client.subprotocol == "chat"
        assert client.recv(PATIENCE) == "welcome to kitchen"
        for text in ("", "grüße 🐍", "x" * 300_000):
            client.send(text)
            assert client.recv(PATIENCE) == text
        client.send("bye")
        with pytest.raises(ConnectionClosed, match=r"received 3000 \(registered\) bye"):
            client.recv(PATIENCE)


def test_a_closed_room_is_refused(chat: str) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        enter(f"{chat}/closed")
    assert refusal.value.response.status_code == 403


def test_a_client_that_leaves_and_one_that_is_lost_end_without_an_error(chat: str) -> None:
    with enter(f"{chat}/kitchen") as leaving:
        leaving.recv(PATIENCE)
        leaving.close(3001, "enough")
    with enter(f"{chat}/kitchen") as lost:
        lost.recv(PATIENCE)
        lost.socket.close()  # that there is no error in the log is looked at in the end


def test_a_refusal_of_starlette_has_a_body(servers: Servers) -> None:
    with pytest.raises(InvalidStatus) as refusal:
        enter(f"{servers['starlette'].url.replace('http', 'ws')}/chat/full")
    assert refusal.value.response.status_code == 429
    assert refusal.value.response.body == b'{"full":true}'


@pytest.mark.parametrize("name", ["channels", "quart", "starlette"])
def test_bytes_come_back_as_bytes(servers: Servers, name: str) -> None:
    data = os.urandom(70_000)
    with enter(f"{servers[name].url.replace('http', 'ws')}/chat/bytes") as client:
        assert client.recv(PATIENCE) == "welcome to bytes"
        client.send(data)
        assert client.recv(PATIENCE) == data


def test_all_in_a_room_of_channels_hear_what_one_says(servers: Servers) -> None:
    url = f"{servers['channels'].url.replace('http', 'ws')}/chat/hall"
    with enter(url) as one, enter(url) as other:
        for client in (one, other):
            assert client.recv(PATIENCE) == "welcome to hall"
        one.send("hello all")
        assert [client.recv(PATIENCE) for client in (one, other)] == ["hello all"] * 2


def test_a_consumer_of_channels_in_threads_echoes(servers: Servers) -> None:
    with connect(f"{servers['channels'].url.replace('http', 'ws')}/threaded") as client:
        for number in range(20):
            client.send(str(number))
        assert [client.recv(PATIENCE) for _ in range(20)] == [str(number) for number in range(20)]


@pytest.mark.parametrize("name", varied(*FRAMEWORKS, "channels"))
def test_each_stops_cleanly_and_has_logged_no_error(servers: Servers, name: str) -> None:
    assert servers[name].stop() == 0
    assert " ERROR " not in servers[name].stderr
