"""One input in every cut: the outcome must always be the same."""

from dataclasses import dataclass

from corehttp.asgi import ASGIApp, Scope
from corehttp.protocols.limits import Limits
from tests.fakes import LIMITS, Client, MakeParser, every_cut, make_context
from tests.protocols.apps import Recorder


@dataclass(frozen=True)
class Outcome:
    """What the client and the application saw."""

    received: bytes
    closed: bool
    scopes: list[Scope]
    messages: list[list[bytes | str]]


async def serve_every_cut(
    raw: bytes, parser: MakeParser, app: ASGIApp, *, root_path: str = "", limits: Limits = LIMITS
) -> Outcome:
    """Serve `raw` once per cut, each time over a new connection, and assert that the outcome is the same."""
    first: Outcome | None = None
    for pieces in every_cut(raw):
        recorder = Recorder(app)
        context = make_context(recorder, parser, root_path=root_path, limits=limits)
        client = Client(context)
        await client.send(*pieces)
        outcome = Outcome(client.received, client.closed, recorder.scopes, recorder.messages)
        await client.lose()
        assert not context.connections
        assert not context.running
        first = first or outcome
        assert outcome == first, f"another outcome for the pieces {pieces}"
    assert first is not None
    return first
