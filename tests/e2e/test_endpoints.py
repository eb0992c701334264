"""A service that listens on several endpoints, which a program gives it: it serves, reloads and stops as one of one."""

import re
import signal
from pathlib import Path

import pytest

from tests.kit.changing import ChangingApp
from tests.kit.raw_client import RawConnection
from tests.kit.server_process import ServerProcess, refused, until

pytestmark = pytest.mark.e2e

MANY = 30  # connections: enough to reach every socket of a port

PROGRAM = """
from corehttp.cli import main
from corehttp.sockets import endpoint
from corehttp.sockets.endpoint import Endpoint, EndpointKind

given = endpoint.endpoints
unix = Endpoint(EndpointKind.UNIX, path={path!r}, permissions="600")
endpoint.endpoints = lambda config: (*given(config), unix)
main()
"""


@pytest.mark.parametrize("kind", [pytest.param("reuseport", marks=pytest.mark.feature), "shared"])
def test_a_service_with_two_endpoints_serves_reloads_and_stops_without_loss(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "socket"
    program = tmp_path / "two_endpoints.py"
    program.write_text(PROGRAM.format(path=str(path)))
    app = ChangingApp(tmp_path)
    app.become("1")
    arguments = (*app.arguments, "--workers", "2", "--socket", kind)
    server = ServerProcess(arguments, tmp_path, program=[str(program)])
    try:
        server.wait_until_ready()
        port = int(server.wait_for_log(r": http://127\.0\.0\.1:(\d+), unix:" + re.escape(str(path))).group(1))
        places: tuple[int | str, ...] = (port, str(path))
        with RawConnection(port) as tcp, RawConnection(str(path)) as unix:
            assert [kept.get("/")[1] for kept in (tcp, unix)] == [b"1", b"1"]
            app.become("2")
            server.signal(signal.SIGHUP)
            until(lambda: all(answer(place) == "2" for place in places for _ in range(MANY)), "the reload")
            server.wait_for_log("reloaded")  # an old worker may pass new connections on, and so be there unseen
            assert [kept.get("/")[1] for kept in (tcp, unix)] == [b"2", b"2"], "idle connections were handed over"
            for kept in (tcp, unix):
                kept.ask("/slow?seconds=1")
            until(lambda: [answer(place) for place in places] == ["2", "2"], "requests in flight")
            server.signal(signal.SIGTERM)
            assert [kept.answer()[1] for kept in (tcp, unix)] == [b"2", b"2"]
        assert server.wait() == 0
        assert refused(port)
        assert not path.exists()
    finally:
        server.end()


def answer(place: int | str) -> str:
    """Ask through a new connection; no request may be lost, whatever the service does meanwhile."""
    with RawConnection(place) as client:
        body = client.get("/")[1].decode()
    assert body in ("1", "2")
    return body
