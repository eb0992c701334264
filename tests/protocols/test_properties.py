"""What holds for any input: any bytes of a client in any cuts, any messages of an application, any chunking.

`EXAMPLES=5000` in the environment tries so many new examples of each; without it the examples are always the same, and
`FULL=1` tries more of them.
"""

import os
import zlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corehttp.protocols.http1.chunked import ChunkedBody
from corehttp.protocols.http1.wire import CONTINUE
from tests.kit.agreement import PARSERS, TIGHT, Answering, Outcome, Style, agree, no_errors, tight_bounds
from tests.kit.extent import FULL
from tests.kit.fakes import LIMITS, Client, make_context
from tests.kit.generated import Encoded, Written, cuts, encoded_bodies, streams, valid_requests
from tests.kit.two_workers import TwoWorkers

REST = b"GET / HTTP/1.1\r\n"  # of what follows a body

EXAMPLES = int(os.environ.get("EXAMPLES", "0"))
profile = settings(
    deadline=None,
    max_examples=EXAMPLES or (200 if FULL else 40),
    derandomize=not EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def one_by_one(raw: bytes) -> list[bytes]:
    return [raw[at : at + 1] for at in range(len(raw))]


@profile
@given(st.lists(valid_requests(), min_size=1, max_size=4), st.data())
async def test_valid_requests_in_any_cuts_reach_the_application_as_they_were_written(
    written: list[Written], data: st.DataObject
) -> None:
    raw = b"".join(request.raw for request in written)
    outcome = await agree(raw, [data.draw(cuts(raw))])
    assert len(outcome.asked) == len(written)
    for asked, request in zip(outcome.asked, written, strict=True):
        scope = asked.scope
        assert (scope["method"], scope["raw_path"], scope["query_string"]) == (
            request.method,
            request.raw_path,
            request.query,
        )
        assert scope["headers"] == request.fields
        assert (asked.body, asked.whole) == (request.body, True)


@profile
@given(st.sampled_from(Style), st.data())
async def test_any_bytes_in_any_cuts_have_one_outcome(style: Style, data: st.DataObject) -> None:
    raw = data.draw(streams())
    await agree(raw, [data.draw(cuts(raw)), one_by_one(raw)], style, LIMITS)


@profile
@given(st.sampled_from(Style), st.data())
async def test_any_bytes_have_one_outcome_where_every_limit_is_met(style: Style, data: st.DataObject) -> None:
    raw = data.draw(streams())
    with tight_bounds():
        await agree(raw, [data.draw(cuts(raw)), one_by_one(raw)], style, TIGHT)


@profile
@given(st.data())
async def test_any_bytes_in_any_cuts_have_the_same_outcome_where_requests_are_parted_among_two_workers(
    data: st.DataObject,
) -> None:
    raw = data.draw(streams().filter(bool))
    with no_errors():
        for parser in PARSERS:
            whole = Outcome(Style.READS)
            alone = Client(make_context(Answering(whole), parser, trust="*"))
            await alone.send(raw)
            for pieces in [raw], [*filter(None, data.draw(cuts(raw)))], one_by_one(raw):
                parted = Outcome(Style.READS)
                client = TwoWorkers(Answering(parted), parser, choose=lambda scope: zlib.crc32(scope["raw_path"]) % 2)
                await client.send(*pieces)
                received, expected = (found.replace(CONTINUE, b"") for found in (client.received, alone.received))
                assert (received, client.closed) == (expected, alone.closed), pieces
                assert [asked for asked in parted.asked if asked.whole] == [
                    asked for asked in whole.asked if asked.whole
                ]
                await client.lose()
            await alone.lose()


@profile
@given(encoded_bodies(), st.data())
def test_any_valid_chunking_in_any_cuts_decodes_to_the_same_content(encoded: Encoded, data: st.DataObject) -> None:
    raw = encoded.raw + REST
    for pieces in [raw], data.draw(cuts(raw)), one_by_one(raw):
        body = ChunkedBody(LIMITS)
        content = rest = b""
        for piece in pieces:
            part, end = body.feed(piece, 0)
            content += part
            rest += piece[end:]
        assert body.whole
        assert (content, rest) == (encoded.content, REST)
