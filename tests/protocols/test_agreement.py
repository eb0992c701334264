"""Input over which the parsers or the cuts once disagreed: that they agree, and on what."""

import pytest

from tests.kit.agreement import agree
from tests.kit.fakes import every_cut

EQUAL_LENGTHS = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"
LIST_OF_EQUAL_LENGTHS = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc"
SPELLED_CODING = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n"


@pytest.mark.parametrize(("raw", "status"), [(EQUAL_LENGTHS, 400), (LIST_OF_EQUAL_LENGTHS, 400), (SPELLED_CODING, 200)])
async def test_both_parsers_judge_fields_as_they_came(raw: bytes, status: int) -> None:
    outcome = await agree(raw, every_cut(raw))
    assert outcome.received.startswith(b"HTTP/1.1 %d " % status)
