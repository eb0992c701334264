"""One input in every cut: the outcome must always be the same."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from corehttp.asgi import ASGIApp, Scope
from corehttp.protocols.limits import Limits
from tests.kit.apps import Recorder
from tests.kit.fakes import LIMITS, TURNS, Client, MakeParser, every_cut, make_context

BETWEEN = 1  # turns of the event loop from one piece to the next: an application that waits for it goes on


@dataclass(frozen=True)
class Outcome:
    """What the client and the application saw."""

    received: bytes
    closed: bool
    lingers: bool = field(compare=False)  # what still comes to the closed connection is read (RFC 9112, 9.6)
    scopes: list[Scope]
    messages: list[list[bytes | str]]


async def serve_every_cut(
    raw: bytes, parser: MakeParser, app: ASGIApp, *, root_path: str = "", limits: Limits = LIMITS
) -> Outcome:
    """Serve `raw` once per cut, each time over a new connection, and assert that the outcome is the same."""
    cuts = list(every_cut(raw))
    outcomes = await serve_side_by_side(cuts, parser, app, root_path=root_path, limits=limits)
    for pieces, outcome in zip(cuts, outcomes, strict=True):
        assert outcome == outcomes[0], f"another outcome for the pieces {pieces}"
    return outcomes[0]


async def serve_side_by_side(
    cuts: Iterable[list[bytes]], parser: MakeParser, app: ASGIApp, *, root_path: str = "", limits: Limits = LIMITS
) -> list[Outcome]:
    """Serve each list of pieces over a connection and in a context of its own, and assert that nothing stays.

    All connections get their first piece, then all get their second one, so that the event loop turns as often as it
    would for one of them.
    """
    recorders, contexts, clients, coming = [], [], [], []
    for pieces in cuts:
        recorder = Recorder(app)
        context = make_context(recorder, parser, root_path=root_path, limits=limits)
        client = Client(context)
        recorders.append(recorder)
        contexts.append(context)
        clients.append(client)
        coming.append((client, iter(pieces)))
    while coming:
        coming = [(client, pieces) for client, pieces in coming if _deliver_next(client, pieces)]
        await _wait([client for client, _ in coming], BETWEEN)
    await _wait(clients, TURNS)
    outcomes = []
    for client, recorder in zip(clients, recorders, strict=True):
        lingers = "write_eof" in client.transport.calls and "close" not in client.transport.calls
        outcomes.append(Outcome(client.received, client.closed, lingers, recorder.scopes, recorder.messages))
    for client in clients:
        client.transport.lose()
    await _wait([], TURNS)
    for context in contexts:
        assert not context.connections
        assert not context.running
    return outcomes


def _deliver_next(client: Client, pieces: Iterable[bytes]) -> bool:
    """Deliver the next piece, if there is one."""
    for piece in pieces:
        client.transport.deliver(piece)
        return True
    return False


async def _wait(clients: list[Client], turns: int) -> None:
    """Let the server do what it can in so many turns of the event loop."""
    for _ in range(turns):
        for client in clients:
            client.transport.deliver_held()
        await asyncio.sleep(0)
