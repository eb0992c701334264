"""What holds for any bytes of a client over a WebSocket: messages, then one end with a code, the same in every cut."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.asgi import Message, Receive, Scope, Send
from corehttp.moments import NEVER
from corehttp.protocols.http1.parser_httptools import HttptoolsParser
from corehttp.protocols.websocket.writer import Settings
from tests.kit.websocket_client import (
    ACCEPT,
    BINARY,
    CONNECT,
    CONTINUATION,
    RSV1,
    TEXT,
    WebSocketClient,
    handshake,
    masked,
    switching,
    unmasked,
    websocket_context,
)
from tests.protocols.test_properties import profile
from tests.protocols.websocket.test_frames import streams

SETTINGS = Settings(max_size=200, max_queue=2, ping_interval=NEVER)
OFFER = b"Sec-WebSocket-Extensions: permessage-deflate"
AGREED = b"sec-websocket-extensions: permessage-deflate"


class Listener:
    """Accepts, and keeps what comes."""

    def __init__(self) -> None:
        self.got: list[Message] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        while not self.got or self.got[-1]["type"] != "websocket.disconnect":
            self.got.append(await receive())


async def serve(
    pieces: list[bytes], compression: str = "off", settings: Settings = SETTINGS
) -> tuple[list[Message], bytes, int]:
    """Return what the application got before the end, what the client got before a close frame, and the close code."""
    app = Listener()
    context = websocket_context(app, HttptoolsParser, settings, compression=compression)
    client = WebSocketClient(context)
    await client.send(*pieces)
    await client.lose()
    assert not context.websockets
    head = switching(AGREED) if compression == "full" else switching()
    assert client.received.startswith(head)
    code = app.got[-1]["code"]
    frames = client.received[len(head) :]
    replies = b""
    while frames:
        # The client gets only pongs, and one close frame at the end; all are short.
        end = 2 + frames[1]
        assert len(frames) >= end
        if frames[0] == 0x88:
            assert code == (int.from_bytes(frames[2:4], "big") or 1005)
            assert len(frames) == end
            break
        assert frames[0] == 0x8A
        replies += frames[:end]
        frames = frames[end:]
    else:
        assert code == 1006
    return app.got[:-1], replies, code


@profile
@given(streams(), st.sampled_from(["off", "full"]), st.data())
async def test_any_bytes_end_in_messages_and_a_code_and_the_same_in_every_cut(
    raw: bytes, compression: str, data: st.DataObject
) -> None:
    opening = handshake(OFFER)
    outcome = await serve([opening, raw], compression)
    assert outcome[0][0] == CONNECT
    ends = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=4)) | {0, len(raw)})
    for pieces in (
        [opening + raw],
        [opening, *(raw[start:end] for start, end in pairwise(ends))],
        [opening, *(raw[at : at + 1] for at in range(len(raw)))],
    ):
        assert await serve(pieces, compression) == outcome, pieces


@pytest.mark.parametrize(
    "raw",
    [
        *[masked(BINARY, Random(size).randbytes(size)) for size in (0, 1, 125, 126, 127, 1000, 65535, 65536)],
        masked(TEXT, b"a" * 1000),
        masked(TEXT, b"a" * 999 + b"\xff"),
        masked(TEXT, b"a" * 1000, RSV1),
        masked(TEXT, b"a" * 1000, 0) + masked(CONTINUATION, b"a" * 1000),
        masked(TEXT, b"a" * 1000) * 2,
        b"\x82\xfe\x00\x7d" + bytes(4 + 125),
        unmasked(TEXT, b"a" * 1000),
        b"\x82\x7e\x00\x86" + bytes(134),
    ],
)
async def test_a_frame_that_comes_at_once_is_read_as_one_that_comes_in_pieces(raw: bytes) -> None:
    settings = Settings(max_size=70000, ping_interval=NEVER)
    at_once = await serve([handshake(), raw], settings=settings)
    for at in (1, 3, 5, len(raw) - 1):
        assert await serve([handshake(), raw[:at], raw[at:]], settings=settings) == at_once
