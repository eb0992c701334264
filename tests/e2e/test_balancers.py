"""The configurations in examples/, run with real nginx, HAProxy and Caddy in front of two hosts: no request is lost.

Each host is a server of its own on another port. Only addresses and paths in those files are replaced.
"""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from websockets.sync.client import connect

from tests.e2e.conftest import Start
from tests.kit.accounting import Load
from tests.kit.extent import FULL
from tests.kit.proxies import SPOOFED, STRANGER, Proxies, Proxy, caddy_config, haproxy_config, nginx_config
from tests.kit.raw_client import RawConnection, connections
from tests.kit.server_process import PATIENCE, ROOT, ServerProcess, until

pytestmark = pytest.mark.e2e

# The delay is more than twice what HAProxy needs to notice: two checks, 0.3 seconds apart.
HOST = ("examples.behind_a_proxy:app", "--app-dir", str(ROOT), "--workers", "2", "--shutdown-delay", "1.5")
POSTERS = 8
ROUNDS = 2 if FULL else 1
BALANCERS = ["nginx", "haproxy", "caddy"]


def replaced(text: str, replacements: dict[str, str]) -> str:
    """The text with each key, which must be there, replaced."""
    for old, new in replacements.items():
        assert old in text, f"the example has no {old!r} any more"
        text = text.replace(old, new)
    return text


class Service(NamedTuple):
    """Two hosts behind a balancer."""

    balancer: Proxy
    hosts: list[ServerProcess]

    def load(self, posters: int = POSTERS) -> Load:
        return Load(self.balancer.port, keepers=16, strangers=2, slow=6, posters=posters, seconds=0.3)


def behind(name: str, proxies: Proxies, hosts: list[ServerProcess]) -> Service:
    """The hosts behind the balancer of that name, as the file in examples/ has it; one host stands for both."""
    both = (hosts * 2)[:2]
    addresses = {f"10.0.0.{number}:8000": f"127.0.0.1:{host.port}" for number, host in enumerate(both, 1)}

    def nginx(port: int, directory: Path) -> str:
        example = (ROOT / "examples" / "nginx.conf").read_text()
        return nginx_config(replaced(example, {**addresses, "listen 80;": f"listen 127.0.0.1:{port};"}))

    def haproxy(port: int, directory: Path) -> str:
        example = (ROOT / "examples" / "haproxy.cfg").read_text()
        return haproxy_config(replaced(example, {**addresses, "bind :80\n": f"bind 127.0.0.1:{port}\n"}))

    def caddy(port: int, directory: Path) -> str:
        example = (ROOT / "examples" / "Caddyfile").read_text()
        site = f"http://:{port} {{\n\tbind 127.0.0.1"
        return caddy_config(replaced(example, {**addresses, "example.org {": site}))

    match name:
        case "nginx":
            return Service(proxies.nginx(nginx), hosts)
        case "haproxy":
            return Service(proxies.haproxy(haproxy), hosts)
        case _:
            return Service(proxies.caddy(caddy), hosts)


@pytest.fixture(params=BALANCERS)
def service(request: pytest.FixtureRequest, start: Start, proxies: Proxies) -> Service:
    return behind(request.param, proxies, [start(*HOST, "--port", "0"), start(*HOST, "--port", "0")])


@pytest.fixture(scope="module", params=BALANCERS)
def balancer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """One balancer before one host, for all tests that only ask."""
    host = ServerProcess((*HOST, "--port", "0"), tmp_path_factory.mktemp("host"))
    proxies = Proxies()
    try:
        host.wait_until_ready()
        yield behind(request.param, proxies, [host]).balancer
    finally:
        proxies.end()
        host.end()


def answered(host: ServerProcess) -> int:
    """How many ordinary requests the host has answered, as its access log says."""
    return len(re.findall(r'"GET / ', host.stdout))


def wait_for_traffic(host: ServerProcess, more: int = 5) -> None:
    """Until the balancer gives the host requests."""
    before = answered(host)
    until(lambda: answered(host) >= before + more, "requests from the balancer")


def test_reloads_lose_nothing(service: Service) -> None:
    with service.load().running() as account:
        for number in range(ROUNDS):
            for host in service.hosts:
                host.signal(signal.SIGHUP)
                host.wait_for_log("reloaded in", number + 1)
                wait_for_traffic(host)
    account.check()


def test_a_rolling_restart_of_the_hosts_loses_nothing(service: Service, start: Start) -> None:
    with service.load().running() as account:
        for host in service.hosts:
            wait_for_traffic(host)
            port = host.port
            assert host.stop() == 0
            host.check_nothing_is_left()
            successor = start(*HOST, "--port", str(port))
            wait_for_traffic(successor)
    account.check()


def test_growing_and_shrinking_lose_nothing(service: Service) -> None:
    host = service.hosts[0]
    with service.load().running() as account:
        for number in range(ROUNDS):
            host.signal(signal.SIGTTIN)
            host.wait_for_log(r"worker 3 \(pid \d+\) is ready", number + 1)
            wait_for_traffic(host)
            host.signal(signal.SIGTTOU)
            until(lambda: len(host.worker_pids()) == 2, "the end of the third worker")
            wait_for_traffic(host)
    account.check()


def test_a_worker_that_is_killed_takes_only_requests_along_that_must_not_be_repeated(service: Service) -> None:
    host = service.hosts[0]
    with service.load().running() as account:
        wait_for_traffic(host)
        os.kill(host.worker_pids()[0], signal.SIGKILL)
        host.wait_for_log(r"worker \d \(pid \d+\) is ready")
        wait_for_traffic(host)
    assert (account.refused, account.lost <= POSTERS) == (0, True), account
    assert [fault for fault in account.faults if not fault.startswith("/echo: ")] == []


def test_without_such_requests_a_worker_that_is_killed_takes_nothing_along(service: Service) -> None:
    host = service.hosts[0]
    with service.load(posters=0).running() as account:
        wait_for_traffic(host)
        os.kill(host.worker_pids()[0], signal.SIGKILL)
        host.wait_for_log(r"worker \d \(pid \d+\) is ready")
        wait_for_traffic(host)
    account.check()


@pytest.mark.parametrize("name", BALANCERS)
def test_exactly_those_requests_fail_that_were_in_flight_in_a_worker_that_is_killed(
    name: str, start: Start, proxies: Proxies, tmp_path: Path
) -> None:
    places = [tmp_path / "one", tmp_path / "two"]
    hosts = []
    for place in places:
        place.mkdir()
        app = ("tests.e2e.application:app", "--app-dir", str(ROOT))
        hosts.append(start(*app, "--workers", "2", "--port", "0", directory=place))

    def sleeping(place: Path) -> list[str]:
        """The worker of each request that has come to the application."""
        return re.findall(r"sleeping (\d)", (place / "events").read_text())

    with connections(16, behind(name, proxies, hosts).balancer.port) as clients:
        for client in clients:
            client.send("POST /slow?seconds=6 HTTP/1.1", "host: a", "content-length: 0", "")
        until(lambda: sum(len(sleeping(place)) for place in places) == len(clients), "all requests")
        os.kill(hosts[0].worker_pids()[0], signal.SIGKILL)
        killed = hosts[0].wait_for_log(r"worker (\d) \(pid \d+\) was killed by SIGKILL").group(1)
        answers = [client.answer()[0].split(b" ", 2)[1] for client in clients]
    lost = sleeping(places[0]).count(killed)
    assert sorted(answers) == [b"200"] * (len(clients) - lost) + [b"502"] * lost


@pytest.mark.parametrize("name", BALANCERS)
def test_an_upload_that_its_application_does_not_read_yet_is_answered_though_its_host_stops(
    name: str, start: Start, proxies: Proxies, tmp_path: Path
) -> None:
    host = start("tests.e2e.application:app", "--app-dir", str(ROOT), "--port", "0")
    with RawConnection(behind(name, proxies, [host]).balancer.port) as client:
        body = bytes(200_000)
        head = f"POST /slow?seconds=3 HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        client.socket.sendall(head.encode() + body)
        until(lambda: "sleeping" in (tmp_path / "events").read_text(), "the request")
        host.signal(signal.SIGTERM)
        assert client.answer()[0].startswith(b"HTTP/1.1 200 ")
    assert host.wait() == 0


@pytest.mark.feature
def test_a_websocket_passes(balancer: Proxy) -> None:
    with connect(f"ws://127.0.0.1:{balancer.port}/chat", open_timeout=PATIENCE, proxy=None) as client:
        for message in ("grüße", b"\x00\xff", "long " * 20_000):
            client.send(message)
            assert client.recv(PATIENCE) == message


@pytest.mark.feature
def test_events_come_as_they_are_sent(balancer: Proxy) -> None:
    with RawConnection(balancer.port) as client:
        client.ask("/events")
        client.wait_for(b"data: 2\n\n")


@pytest.mark.feature
def test_a_hundred_fields_of_a_client_pass(balancer: Proxy) -> None:
    with RawConnection(balancer.port) as client:
        client.ask("/", *[f"x-{number}: y" for number in range(99)])
        assert client.answer()[0].startswith(b"HTTP/1.1 200 ")


@pytest.mark.feature
def test_a_client_of_http_1_0_need_not_name_a_host(balancer: Proxy) -> None:
    with RawConnection(balancer.port) as client:
        client.send("GET / HTTP/1.0", "")
        assert b" 200 " in client.answer()[0]


def test_the_health_route_says_that_its_host_leaves_while_requests_are_still_answered(start: Start) -> None:
    host = start(*HOST, "--port", "0")

    def health() -> bytes:
        with RawConnection(host.port) as client:
            return client.get("/health")[0].split(b" ", 2)[1]

    assert health() == b"200"
    host.signal(signal.SIGTERM)
    until(lambda: health() == b"503", "the health route to say so")
    with RawConnection(host.port) as client:
        assert client.get("/")[0].startswith(b"HTTP/1.1 200 ")
    assert host.wait() == 0


@pytest.mark.parametrize("name", BALANCERS)
def test_what_a_client_says_of_itself_is_not_believed(name: str, start: Start, proxies: Proxies) -> None:
    host = start("tests.e2e.proxied_application:app", "--app-dir", str(ROOT), "--port", "0")
    balancer = behind(name, proxies, [host]).balancer
    with httpx.Client(transport=httpx.HTTPTransport(local_address=STRANGER)) as client:
        for headers in ({}, SPOOFED):
            said = client.get(f"{balancer.url}/who", headers=headers).json()
            assert said["client"] == [STRANGER, 0]
            assert said["url"] == f"{balancer.url}/who"
            assert not [name for name in said["headers"] if name.endswith(("-port", "-prefix"))]
            # Caddy writes this one itself.
            assert said["headers"].get("x-forwarded-host") in (None, balancer.url.removeprefix("http://"))
