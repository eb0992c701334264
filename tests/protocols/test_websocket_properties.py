"""What holds for any bytes of a client over a WebSocket: messages, then one end with a code, the same in every cut."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from corehttp.asgi import Message, Receive, Scope, Send
from corehttp.protocols.limits import NEVER
from corehttp.protocols.parser_httptools import HttptoolsParser
from corehttp.protocols.ws_writing import Settings
from tests.protocols.test_properties import profile
from tests.protocols.test_ws_frames import streams
from tests.protocols.ws_client import ACCEPT, CONNECT, WebSocketClient, handshake, switching, websocket_context

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


async def serve(pieces: list[bytes], compression: str) -> tuple[list[Message], bytes, int]:
    """What the application got before the end, what the client got before a close frame, and the code of the end."""
    app = Listener()
    context = websocket_context(app, HttptoolsParser, SETTINGS, compression=compression)
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
        # Nothing but pongs, and one close frame at the end: short ones.
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
