"""Which protocol a worker that speaks TLS gives a connection, and what goes into it of a parcel."""

from pathlib import Path

from corehttp.ipc.parcel import Parcel
from corehttp.moments import NEVER
from corehttp.protocols.entrance import Entrance, Origin
from corehttp.protocols.http1.connection import HTTP1Connection
from corehttp.protocols.http1.parser_h11 import H11Parser
from corehttp.protocols.tally import Tally
from corehttp.protocols.tls_opening import TlsOpening
from corehttp.worker.tls import WorkerTls
from tests.kit.apps import hello
from tests.kit.fakes import make_context
from tests.tls.test_contexts import settings


async def test_all_endpoints_speak_tls_but_those_that_redirect(tmp_path: Path) -> None:
    context = make_context(hello, H11Parser)
    context.tally = Tally()
    tls = WorkerTls(settings(tmp_path), context, None)
    known = {0: Entrance(0, "https"), 1: Entrance(1, "http", redirects=True)}
    made = [tls.make_protocol(known, endpoint) for endpoint in (0, 1, 7)]
    assert list(map(type, made)) == [TlsOpening, HTTP1Connection, TlsOpening]
    assert known[7] == Entrance(7, "https"), "what a program has added to the service"
    assert context.tally.accepted == 3


async def test_what_a_proxy_has_told_goes_on_with_a_connection_that_was_handed_over(tmp_path: Path) -> None:
    context = make_context(hello, H11Parser)
    tls = WorkerTls(settings(tmp_path), context, None)
    client, server = ("203.0.113.9", 5), ("192.0.2.7", 443)
    parcel = Parcel(-1, NEVER, client=client, announced=True, server=server)
    opening = tls.make_protocol({}, 0, parcel)
    assert isinstance(opening, TlsOpening)
    assert opening.settled
    assert opening._origin == Origin(client, server)
