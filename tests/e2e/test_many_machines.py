"""Messages between machines, over a real Redis that is killed, stopped and started again.

Each machine is a service of its own on another port.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from tests.e2e.conftest import Start
from tests.kit.extent import FULL
from tests.kit.programs import installed
from tests.kit.raw_client import RawConnection
from tests.kit.redis_server import RedisServer
from tests.kit.server_process import HERE, PACKAGE, PATIENCE, ServerProcess, until
from tests.kit.verbs import done, environment, told, verb

pytestmark = pytest.mark.e2e

MACHINE = ("fleet_application:app", "--app-dir", str(HERE), "--port", "0", "--lifespan", "on")
ROUNDS = 2 if FULL else 1
CHANNEL = b"corehttp:fleet_application:app"
LINKED = r"messages go to other machines over redis://127\.0\.0\.1"
ALONE = r"messages go to this machine alone: there is no link over redis://127\.0\.0\.1"


def fetch(machine: ServerProcess, path: str) -> Any:
    """What one worker answers, over a connection of its own."""
    with RawConnection(machine.port) as client:
        return json.loads(client.get(path)[1])


def linked(start: Start, redis: RedisServer, workers: int = 2, env: Mapping[str, str] | None = None) -> ServerProcess:
    """A machine whose workers are all connected to Redis."""
    every = {"FLEET_WORKERS": str(workers), "COREHTTP_BUS": redis.url, **(env or {})}
    return start(*MACHINE, "--workers", str(workers), env=every)


def received(machine: ServerProcess) -> dict[str, list[str]]:
    found: dict[str, list[str]] = fetch(machine, "/received")
    return found


def wait_for_texts(machine: ServerProcess, *texts: str) -> None:
    """Wait until each worker of the machine has received these, and nothing else."""
    until(lambda: all(each == list(texts) for each in received(machine).values()), f"{texts} everywhere")


def ask_redis(redis: RedisServer, *words: bytes) -> bytes:
    """Send one command to Redis, and return the first line of its reply."""
    with socket.create_connection(("127.0.0.1", redis.port), PATIENCE) as client, client.makefile("rb") as replies:
        client.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        return replies.readline()


def connections(pid: int, redis: RedisServer) -> int:
    """How many connections to Redis a process has."""
    found = psutil.Process(pid).net_connections("tcp4")
    return sum(bool(each.raddr) and each.raddr.port == redis.port for each in found)


@pytest.mark.feature
def test_a_message_reaches_each_worker_of_each_machine_once_and_in_order(start: Start, redis: RedisServer) -> None:
    one, two = linked(start, redis), linked(start, redis)
    with RawConnection(one.port) as client:
        for text in ("a", "b", "c/fleet", "d/local", "e"):
            assert json.loads(client.get(f"/publish/{text}")[1]) == 2
    wait_for_texts(two, "a@", "b@", "c@", "e@")
    assert fetch(two, "/publish/f") == 2
    wait_for_texts(one, "a", "b", "c", "d", "e", "f@")
    wait_for_texts(two, "a@", "b@", "c@", "e@", "f")
    assert one.stop() == 0
    wait_for_texts(two, "a@", "b@", "c@", "e@", "f", "bye@", "bye@")
    assert two.stop() == 0
    assert "WARNING" not in one.stderr + two.stderr


def test_a_service_goes_on_while_redis_is_dead_and_tells_of_the_gap_when_it_is_back(
    start: Start, redis: RedisServer
) -> None:
    one, two = linked(start, redis), linked(start, redis)
    redis.kill()
    for machine in (one, two):
        machine.wait_for_log(ALONE, 2)
    assert fetch(one, "/publish/here") == 2
    assert "the message 'text' has reached this machine, and others may not get it" in fetch(one, "/publish/x/fleet")
    wait_for_texts(one, "here", "x")
    redis.start()
    for machine in (one, two):
        machine.wait_for_log(LINKED, 4)
    until(lambda: fetch(one, "/publish/y/fleet") == 2, "a message that all machines get")
    until(lambda: all(each[:1] == ["gap"] and each[-1] == "y@" for each in received(two).values()), "what came then")
    assert all(set(each) == {"gap", "y@"} for each in received(two).values())
    assert all(each[:3] == ["here", "x", "gap"] for each in received(one).values())
    for machine in (one, two):
        assert machine.stop() == 0
        assert len(re.findall("WARNING", machine.stderr)) == 2, "one for each worker"


def test_a_redis_that_answers_nothing_is_noticed_and_requests_go_on(start: Start, redis: RedisServer) -> None:
    one, two = linked(start, redis), linked(start, redis)
    redis.pause()
    try:
        began = time.monotonic()
        assert fetch(one, "/publish/here") == 2
        assert time.monotonic() - began < 3, "nobody waits for Redis"
        assert "no answer" in fetch(one, "/publish/x/fleet")
        for machine in (one, two):
            machine.wait_for_log(ALONE, 2)
        assert fetch(two, "/publish/there") == 2
    finally:
        redis.resume()
    for machine in (one, two):
        machine.wait_for_log(LINKED, 4)
    until(lambda: fetch(one, "/publish/y/fleet") == 2, "a message that all machines get")
    until(lambda: all(each[-1] == "y@" for each in received(two).values()), "what came then")
    assert all(each[0] == "there" and "gap" in each for each in received(two).values())


def test_a_service_starts_without_redis_and_finds_it_later(start: Start, redis: RedisServer) -> None:
    redis.kill()
    machine = linked(start, redis)
    assert fetch(machine, "/publish/a") == 2
    redis.start()
    machine.wait_for_log(LINKED, 2)
    wait_for_texts(machine, "a", "gap")
    assert machine.stop() == 0


def test_what_strangers_publish_harms_nobody(start: Start, redis: RedisServer) -> None:
    machine = linked(start, redis)
    before = machine.worker_pids()
    for content in (b"hello", b"", b"\x01\x01" + b"\xff" * 100, b"x" * 20_000_000):
        assert ask_redis(redis, b"PUBLISH", CHANNEL, content) == b":2\r\n"
    other = linked(start, redis)
    assert fetch(other, "/publish/a") == 2
    wait_for_texts(machine, "a@")
    assert machine.worker_pids() == before
    machine.wait_for_log("comes what is passed over", 2)
    assert machine.stop() == 0
    assert len(re.findall("comes what is passed over", machine.stderr)) == 2, "one line for each worker"
    assert len(re.findall(LINKED, machine.stderr)) == 2, "the connections are still the first ones"


def test_a_reload_loses_no_message_in_either_direction_and_doubles_none(
    start: Start, redis: RedisServer, runtime: Path
) -> None:
    one, two = linked(start, redis, env=environment(runtime)), linked(start, redis)
    published = 0
    deadline = time.monotonic() + PATIENCE
    for reloads in (1, 2):
        one.signal(signal.SIGHUP)
        while len(re.findall("reloaded in", one.stderr)) < reloads:
            assert time.monotonic() < deadline, one.stderr
            assert fetch(one, f"/publish/{published}/fleet") >= 1
            published += 1
    texts = [f"{number}@" for number in range(published)]
    until(lambda: all("bye@" in each for each in received(two).values()), "the last words of those that were replaced")
    for each in received(two).values():
        heard = [text for text in each if text != "bye@"]
        assert sorted(heard) == sorted(texts)
    assert "gap" not in received(two)["1"] + received(two)["2"]


def test_whatever_becomes_of_redis_nothing_comes_twice_or_is_missed_without_a_gap(
    start: Start, redis: RedisServer
) -> None:
    machines = [linked(start, redis, 1) for _ in range(3)]
    for machine in machines:
        fetch(machine, "/chatter")

    def hear(more: int) -> None:
        """Wait until each has heard so many more numbers."""
        counts = [fetch(machine, "/faults")[0] + more for machine in machines]
        until(lambda: all(map(heard, machines, counts)), "more numbers")

    def heard(machine: ServerProcess, count: int) -> bool:
        return bool(fetch(machine, "/faults")[0] >= count)

    def link() -> None:
        """Wait until all have a link, and have heard each other."""
        until(lambda: all(fetch(machine, "/publish/a/fleet") == 1 for machine in machines), "links")
        hear(300)

    for _ in range(ROUNDS):
        for kind in (b"pubsub", b"normal"):
            link()
            ask_redis(redis, b"CLIENT", b"KILL", b"TYPE", kind)
        link()
        redis.kill()
        hear(100)
        redis.start()
        link()
        redis.pause()
        hear(2000)
        redis.resume()
    link()
    found = [fetch(machine, "/faults") for machine in machines]
    assert [faults for _, _, faults in found] == [[], [], []]
    assert all(gaps >= 4 * ROUNDS for _, gaps, _ in found)


def test_a_flood_arrives_whole(start: Start, redis: RedisServer) -> None:
    one, two = linked(start, redis, 1), linked(start, redis, 1)
    assert fetch(one, "/flood/500") == 0
    texts = sorted(f"{number}@" for number in range(500))
    until(lambda: sorted(received(two)["1"]) == texts, "all of them")


def test_a_password_is_shown_nowhere(start: Start, redis: RedisServer, runtime: Path) -> None:
    assert ask_redis(redis, b"CONFIG", b"SET", b"requirepass", b"sesame") == b"+OK\r\n"
    env = {**environment(runtime), "COREHTTP_BUS": redis.url.replace("//", "//:sesame@")}
    machine = linked(start, redis, env=env)
    assert len(re.findall(LINKED, machine.stderr)) == 2
    [option] = [each for each in told(runtime, "config")["options"] if each["name"] == "bus"]
    assert option["value"] == redis.url.removesuffix("/0")
    shown = [done(verb(runtime, *words)) for words in (("config",), ("status",), ("list",), ("status", "--json"))]
    lines = [" ".join(psutil.Process(pid).cmdline()) for pid in machine.processes()]
    assert machine.stop() == 0
    assert "sesame" not in "".join([*shown, *lines, machine.stderr, machine.stdout])


def test_a_wrong_password_is_a_warning_that_does_not_show_it(start: Start, redis: RedisServer) -> None:
    assert ask_redis(redis, b"CONFIG", b"SET", b"requirepass", b"sesame") == b"+OK\r\n"
    machine = linked(start, redis, 1, env={"COREHTTP_BUS": redis.url.replace("//", "//:open@")})
    machine.wait_for_log(ALONE + r".* invalid username-password pair")
    assert fetch(machine, "/publish/a") == 1
    assert machine.stop() == 0
    assert "open@" not in machine.stderr


def test_a_wrong_address_is_an_error_of_the_option(start: Start) -> None:
    machine = start(*MACHINE, "--bus", "http://:sesame@127.0.0.1", ready=False)
    assert machine.wait() == 2
    assert "--bus" in machine.stderr
    assert "it must be redis://" in machine.stderr
    assert "sesame" not in machine.stderr


def test_without_the_package_the_start_fails_and_says_what_to_install(start: Start, tmp_path: Path) -> None:
    package = tmp_path / "none" / "redis"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('it is not here')\n")
    path = os.pathsep.join((str(package.parent), os.environ.get("PYTHONPATH", "")))
    machine = start(*MACHINE, "--bus", "redis://127.0.0.1", env={"PYTHONPATH": path}, ready=False)
    assert machine.wait() == 3
    assert "bus needs the package redis" in machine.stderr
    assert "pip install 'corehttp-server[redis]'" in machine.stderr


@pytest.mark.parametrize("options", [("--preload",), ("--loop", "asyncio"), ("--no-supervise",)])
def test_any_kind_of_worker_is_connected(start: Start, redis: RedisServer, options: tuple[str, ...]) -> None:
    env = {"FLEET_WORKERS": "1", "COREHTTP_BUS": redis.url}
    one, two = (start(*MACHINE, *options, env=env) for _ in range(2))
    assert fetch(one, "/publish/a/fleet") == 1
    wait_for_texts(two, "a@")
    assert [machine.stop() for machine in (one, two)] == [0, 0]


EMBEDDED = """
import asyncio, sys
import corehttp
from corehttp import bus

async def app(scope, receive, send): ...

async def main():
    async with corehttp.serve(app, port=0, lifespan="off", bus=sys.argv[1], name="shop"):
        async with bus.subscribe("text") as messages:
            print("listens", flush=True)
            print((await anext(messages)).data.decode())
        print(await bus.publish("text", b"hello", scope="fleet"))

asyncio.run(main())
"""


def test_a_server_in_a_program_is_a_machine_too(start: Start, redis: RedisServer) -> None:
    machine = linked(start, redis, env={"COREHTTP_NAME": "shop"})
    with subprocess.Popen(
        [sys.executable, "-c", EMBEDDED, redis.url],
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
        stdout=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"listens\n"
        assert fetch(machine, "/publish/news/fleet") == 2
        assert program.stdout.read() == b"news\n1\n"
    assert program.returncode == 0
    wait_for_texts(machine, "news", "hello@")


def test_a_process_that_the_application_forks_keeps_no_connection_to_redis(start: Start, redis: RedisServer) -> None:
    machine = linked(start, redis, 1)
    [worker] = machine.worker_pids()
    assert connections(worker, redis) == 2
    forked = fetch(machine, "/fork")
    until(lambda: connections(forked, redis) == 0, "a process without them")
    assert fetch(machine, "/publish/a/fleet") == 1
    assert machine.stop() == 0


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[RedisServer, str]]:
    """A Redis that also has a unix socket and a port with TLS, and the path of the certificate."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [installed("openssl"), "req", "-x509", "-newkey", "ec"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True, timeout=PATIENCE)
    tls = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate))
    redis = RedisServer("--unixsocket", "redis.sock", "--tls-port", "+1", "--tls-auth-clients", "no", *tls)
    try:
        yield redis, str(certificate)
    finally:
        redis.end()


def test_a_unix_socket_and_tls_lead_to_redis_too(start: Start, guarded: tuple[RedisServer, str]) -> None:
    redis, certificate = guarded
    tls = f"rediss://127.0.0.1:{redis.port + 1}"
    addresses = (f"unix://{redis.directory}/redis.sock", f"{tls}?ssl_ca_certs={certificate}")
    one, two = (linked(start, redis, 1, env={"COREHTTP_BUS": address}) for address in addresses)
    assert fetch(one, "/publish/a/fleet") == 1
    wait_for_texts(two, "a@")
    stranger = linked(start, redis, 1, env={"COREHTTP_BUS": tls})
    stranger.wait_for_log("there is no link over rediss://.*certificate verify failed")
    assert [machine.stop() for machine in (one, two, stranger)] == [0, 0, 0]
