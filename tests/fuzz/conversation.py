"""What a fuzzer's bytes mean: a connection's input, how it is cut, and who answers it.

The first byte holds switches, then come the places of three cuts (two bytes each), then what the client sends.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.protocols.limits import Limits
from tests.kit.agreement import TIGHT, TURN, Style, agree, tight_bounds
from tests.kit.apps import hello
from tests.kit.corpus import read_cases
from tests.kit.fakes import LIMITS, make_context
from tests.kit.repetition import check_repeated, heads_of

CUTS = 3
LONGEST = 1024  # bytes of a request that is worth a fuzzer's while
PREFIX = 1 + 2 * CUTS  # bytes before what the client sends
STYLES = (Style.READS, Style.READS, Style.EARLY, Style.STREAMS)  # most is known of the first


@dataclass(frozen=True)
class Conversation:
    """One input of the fuzzer, understood."""

    raw: bytes
    pieces: list[bytes]
    style: Style
    tight: bool  # bounds so small that short input meets them

    @property
    def limits(self) -> Limits:
        return TIGHT if self.tight else LIMITS

    async def hold(self) -> None:
        """Serve it by both parsers, whole and in its pieces; raises AssertionError if they do not agree.

        Each head in it must also mean behind the one before it, and again and again, what it means alone.
        """
        heads = heads_of(self.raw)
        context = make_context(hello, HttptoolsParser, limits=self.limits, trust="*")
        for first, head in pairwise([*heads, *heads]):
            check_repeated(first, head, context)
        if self.tight:
            with tight_bounds():
                await agree(self.raw, [self.pieces], self.style, TIGHT)
        else:
            await agree(self.raw, [self.pieces], self.style, LIMITS)


def understand(data: bytes) -> Conversation:
    """Every input means something."""
    switches = data[0] if data else 0
    raw = data[PREFIX:]
    if switches & 0b100000:
        ends = list(range(1, len(raw) + 1))
    else:
        places = [int.from_bytes(data[at : at + 2]) for at in range(1, PREFIX, 2)]
        ends = [*sorted({place % (len(raw) + 1) for place in places} - {0, len(raw)}), len(raw)]
    turns = [TURN] * (switches >> 3 & 0b11)
    pieces = [
        each for start, end in zip([0, *ends], ends, strict=False) if end > start for each in (raw[start:end], *turns)
    ]
    return Conversation(raw, pieces, STYLES[switches & 0b11], bool(switches & 0b100))


def express(raw: bytes, switches: int, *cuts: int) -> bytes:
    """The input that means a conversation."""
    places = (*cuts, *[0] * CUTS)[:CUTS]
    return bytes([switches]) + b"".join(place.to_bytes(2) for place in places) + raw


def from_cases() -> Iterator[bytes]:
    """The requests of `tests/protocols/cases`, each one whole, and in two pieces with small bounds."""
    for case in read_cases():
        raw = case.request
        if len(raw) <= LONGEST:
            yield express(raw, 0)
            yield express(raw, 0b1100, len(raw) // 2)
