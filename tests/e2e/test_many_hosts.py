"""examples/many_hosts, started by its one command: three hosts with a network of their own behind HAProxy."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.programs import installed
from tests.kit.server_process import PACKAGE, PATIENCE, ROOT, until

pytestmark = pytest.mark.e2e

NEEDED = ("ip", "haproxy", "redis-server")
START = ROOT / "examples" / "many_hosts" / "start"
HOSTS = ("host1", "host2", "host3")
WORKERS = 6
LINKED = "messages go to other machines over"
ALONE = "messages go to this machine alone"


class Network:
    """What the example has started."""

    def __init__(self, log: Path, numbers: str, process: "subprocess.Popen[bytes]") -> None:
        self._log = log
        self.numbers = numbers  # the first three of the addresses
        self.process = process
        self.cookie = ""

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def spaces(self) -> str:
        """What the names of its namespaces begin with."""
        first = re.search(r"namespaces: (\S+)-lan ", self.log)
        assert first, self.log
        return first[1]

    def wait_for_log(self, pattern: str, count: int = 1) -> list[str]:
        """Wait for so many matches; return what is in their groups."""

        def look() -> list[str]:
            assert self.process.poll() is None, self.log
            found: list[str] = re.findall(pattern, self.log)
            return found if len(found) >= count else []

        return until(look, f"{pattern!r}, {count} times")

    def ask(self, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, dict[str, Any]]:
        """The status and the JSON of an answer through HAProxy."""
        url = f"http://{self.numbers}.31:8080{path}"
        request = urllib.request.Request(url, body, {"Cookie": self.cookie}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                self.cookie = response.headers.get("Set-Cookie", self.cookie).partition(";")[0]
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def says(self, path: str, host: str) -> dict[str, Any]:
        """The answer of a host, which is asked in turn with the others."""
        return until(
            lambda: next((found for _, found in [self.ask(path)] if found.get("host") == host), None),
            f"{host}'s answer",
        )

    def price(self) -> dict[tuple[str, int], str]:
        """The price of tea, as each worker of each host says."""
        found: dict[tuple[str, int], str] = {}

        def look() -> bool:
            _, said = self.ask("/price/tea")
            found[said["host"], said["worker"]] = said["price"]
            return len(found) == WORKERS

        until(look, "the answers of all workers")
        return found

    def wait_for_price(self, price: str) -> None:
        """Wait until all workers say that this is the price of tea."""
        until(lambda: set(self.price().values()) == {price}, f"{price} everywhere")

    def settle_price(self) -> None:
        """Have all workers know that the price of tea is 10, after each has heard that it is no longer what it was."""
        self.wait_for_log(LINKED, WORKERS)
        self.wait_for_price("none")
        status, said = self.ask("/price/tea", "PUT", b"10")
        assert (status, said["told"]) == (200, "all hosts")
        self.wait_for_price("10")

    def ip(self, space: str, *words: str) -> None:
        """Change the network of one of the namespaces."""
        subprocess.run([installed("ip"), "-n", f"{self.spaces}-{space}", *words], check=True, timeout=PATIENCE)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    for program in NEEDED:
        installed(program)
    assert os.geteuid() == 0, "this test makes network namespaces: run it as root"
    numbers = f"10.{random.randint(64, 191)}.{random.randint(1, 254)}"
    path = os.pathsep.join(filter(None, (str(PACKAGE), os.environ.get("PYTHONPATH"))))
    env = {**os.environ, "NETWORK": numbers, "PYTHON": sys.executable, "PYTHONPATH": path}
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [START], env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    started = Network(log, numbers, process)
    try:
        started.wait_for_log("(?m)^ready: ")
        spaces = started.spaces
        yield started
    finally:
        process.terminate()
        process.wait(PATIENCE)
    names = subprocess.run([installed("ip"), "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert spaces not in names
    links = subprocess.run([installed("ip"), "link"], capture_output=True, text=True, check=True).stdout
    assert spaces not in links
    assert log.read_text().endswith("ended\n")


def test_sessions_and_prices_are_those_of_all_hosts_and_one_may_leave(network: Network) -> None:
    assert network.ask("/login/anna", "POST")[0] == 200
    assert {network.says("/", host)["user"] for host in HOSTS} == {"anna"}
    network.settle_price()
    [pid] = network.wait_for_log(r"host2: .* ready in .*kill -TERM (\d+)\)")
    os.kill(int(pid), signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    while not re.search("host2: .* stopped after", network.log):
        assert time.monotonic() < deadline, network.log
        status, said = network.ask("/")
        assert (status, said["user"]) == (200, "anna")
    assert {network.ask("/")[1]["host"] for _ in range(10)} == {"host1", "host3"}


def test_a_host_that_is_cut_off_from_redis_learns_what_it_has_missed(network: Network) -> None:
    network.settle_price()
    cut = (("host2", f"{network.numbers}.21"), ("redis", f"{network.numbers}.2"))
    for space, address in cut:
        network.ip(space, "route", "add", "blackhole", address)
    until(lambda: network.ask("/price/tea", "PUT", b"12")[0] == 200, "a change by a host that reaches Redis")
    network.wait_for_log(f"host2: .*{ALONE}", 2)
    assert {price for (host, _), price in network.price().items() if host == "host2"} == {"10"}
    until(lambda: {price for (host, _), price in network.price().items() if host != "host2"} == {"12"}, "the new price")
    for space, address in cut:
        network.ip(space, "route", "del", "blackhole", address)
    network.wait_for_log(f"host2: .*{LINKED}", 4)
    network.wait_for_price("12")
    assert network.says("/price/tea", "host2")["gaps"] == 1
    assert network.says("/price/tea", "host1")["gaps"] == 0, "nothing that host2 has said was lost"


def test_all_hosts_serve_on_while_nobody_reaches_redis(network: Network) -> None:
    network.settle_price()
    network.ip("redis", "link", "set", "eth0", "down")
    network.wait_for_log(ALONE, WORKERS)
    began = time.monotonic()
    assert set(network.price().values()) == {"10"}
    assert network.ask("/")[0] == 503
    assert time.monotonic() - began < 30
    network.ip("redis", "link", "set", "eth0", "up")
    network.wait_for_log(LINKED, 2 * WORKERS)
    assert network.ask("/price/tea", "PUT", b"12")[0] == 200
    network.wait_for_price("12")
    assert len(re.findall("WARNING", network.log)) == WORKERS, "one for each worker"


def test_without_what_it_needs_the_example_says_so(tmp_path: Path) -> None:
    for program in NEEDED:
        installed(program)
    for env, why in (
        ({"NETWORK": "10.213"}, "NETWORK must be three numbers, as in 10.213.7, not 10.213"),
        ({"NETWORK": "10.213.9", "PYTHON": "/nowhere/python"}, "/nowhere/python lacks packages"),
    ):
        run = subprocess.run([START], env={**os.environ, **env}, capture_output=True, text=True, timeout=PATIENCE)
        assert run.returncode == 1
        assert why in run.stderr
