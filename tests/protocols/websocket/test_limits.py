"""What a WebSocket's client may do, and how long it may take: queue, sizes, pings, and what it does not read."""

import asyncio
import logging
import tracemalloc
import zlib
from random import Random

import pytest

from corehttp.asgi import Message, Receive, Scope, Send
from corehttp.moments import NEVER
from corehttp.protocols.limits import Limits
from corehttp.protocols.websocket.reader import FRAMES_AT_ONCE, QUEUE_HIGH_WATER
from corehttp.protocols.websocket.writer import Settings
from tests.kit.fakes import MakeParser, pass_time
from tests.kit.websocket_client import (
    ACCEPT,
    BINARY,
    CLOSE,
    CONNECT,
    CONTINUATION,
    FIN,
    MASK,
    PING,
    PONG,
    RSV1,
    TEXT,
    Puppet,
    WebSocketClient,
    accepted,
    close_payload,
    closings,
    connect,
    connecting,
    data,
    disconnect,
    echo,
    masked,
    opened,
    switching,
    text,
    unmasked,
    websocket_context,
)

INTERVAL, TIMEOUT = 5, 3  # seconds
PINGING = Settings(ping_interval=INTERVAL, ping_timeout=TIMEOUT)
STALL = 10  # seconds
LIMITS = Limits(write_stall=STALL)


def queue_of(size: int) -> Settings:
    return Settings(max_queue=size, ping_interval=NEVER)


def numbered(count: int) -> list[bytes]:
    """Return `count` messages with a number each: short and long ones, whole and in fragments."""
    frames = []
    for number in range(count):
        content = b"%d" % number
        if number % 3 == 0:
            frames.append(masked(TEXT, content))
        elif number % 3 == 1:
            frames.append(masked(TEXT, content, 0) + masked(PONG) + masked(CONTINUATION, b"-" * 200))
        else:
            frames.append(masked(TEXT, content + b"+" * 130))
    return frames


def number_in(message: Message) -> int:
    return int(message["text"].rstrip("+-"))


# Messages that wait.


@pytest.mark.parametrize("size", [1, 2, 5, 32])
@pytest.mark.parametrize("piece", [1, 7, 50, 300, 100_000])
async def test_a_full_queue_pauses_reading_and_nothing_is_lost(parser: MakeParser, size: int, piece: int) -> None:
    count = 60
    app, client = await opened(parser, queue_of(size))
    raw = b"".join(numbered(count))
    for at in range(0, len(raw), piece):
        client.transport.deliver(raw[at : at + piece])
    await client.wait()
    assert not client.transport.reading
    assert len(client.websocket.session.queue) == size
    for number in range(count):
        assert number_in(await app.receive()) == number
        await client.wait()
        assert len(client.websocket.session.queue) <= size
    assert client.transport.reading
    await client.send(masked(TEXT, b"and on"))
    assert await app.receive() == text("and on")
    app.end()
    await client.lose()


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_messages_that_wait_are_bounded_in_bytes_too_and_inflated_no_further(
    parser: MakeParser, opcode: int
) -> None:
    size, count = 2**20, 64
    app = Puppet()
    context = websocket_context(app, parser, Settings(ping_interval=NEVER), compression="small")
    client = await accepted(app, context, b"Sec-WebSocket-Extensions: permessage-deflate")
    compressor = zlib.compressobj(9, wbits=-12)
    bomb = (compressor.compress(b"a" * size) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
    raw = masked(opcode, bomb, FIN | RSV1) * count
    tracemalloc.start()
    try:
        client.transport.deliver(raw)
        await client.wait()
        assert not client.transport.reading
        assert len(client.websocket.session.queue) == 1
        assert tracemalloc.get_traced_memory()[1] < 6 * size
    finally:
        tracemalloc.stop()
    content = "a" * size
    for _ in range(count):
        message = await app.receive()
        assert (message["text"] if opcode == TEXT else message["bytes"].decode()) == content
        await client.wait()
        assert len(client.websocket.session.queue) <= 1
    assert client.transport.reading
    app.end()
    await client.lose()


@pytest.mark.parametrize("size", [QUEUE_HIGH_WATER // 4, QUEUE_HIGH_WATER - 1, QUEUE_HIGH_WATER, 3 * QUEUE_HIGH_WATER])
async def test_reading_goes_on_when_enough_bytes_were_taken(parser: MakeParser, size: int) -> None:
    app, client = await opened(parser, Settings(ping_interval=NEVER))
    for _ in range(12):
        client.transport.deliver(masked(BINARY, bytes(size)))
        await client.wait()
    assert not client.transport.reading
    assert sum(len(message["bytes"]) for message in client.websocket.session.queue) < QUEUE_HIGH_WATER + size
    for _ in range(12):
        assert await app.receive() == data(bytes(size))
        await client.wait()
    assert client.transport.reading
    app.end()
    await client.lose()


@pytest.mark.parametrize(
    ("frame", "answer"),
    [
        (masked(TEXT, b"a"), unmasked(TEXT, b"a")),
        (masked(BINARY), unmasked(BINARY)),
        (masked(PING, b"b"), unmasked(PONG, b"b")),
        (masked(PONG), b""),
        (masked(TEXT, b"c", 0) + masked(CONTINUATION, b"", 0) * 9 + masked(CONTINUATION), unmasked(TEXT, b"c")),
    ],
)
async def test_many_small_frames_are_read_some_in_a_turn_of_the_loop(
    parser: MakeParser, frame: bytes, answer: bytes
) -> None:
    client = await connect(websocket_context(echo, parser, Settings(ping_interval=NEVER)))
    client.take()
    count = 40 * FRAMES_AT_ONCE // frame.count(MASK)
    client.transport.deliver(frame * count + masked(PING, b"the end"))
    turns = 0
    received = b""
    while not received.endswith(unmasked(PONG, b"the end")):
        assert len(client.received) - len(received) <= FRAMES_AT_ONCE * max(len(answer), 1)
        received = client.received
        client.transport.deliver_held()
        await asyncio.sleep(0)
        turns += 1
    assert received == answer * count + unmasked(PONG, b"the end")
    assert turns > 30
    await client.lose()


async def test_any_reads_at_any_time_lose_nothing_and_keep_the_order(parser: MakeParser) -> None:
    for seed in range(30):
        random = Random(seed)
        app = Puppet()
        client = await accepted(app, websocket_context(app, parser, queue_of(random.randint(1, 4))))
        raw = b"".join(numbered(30))
        at = expected = 0
        while expected < 30:
            if at < len(raw) and random.random() < 0.6:
                size = random.choice([1, 5, 100, 1000])
                client.transport.deliver(raw[at : at + size])
                at += size
            elif client.websocket.session.queue:
                assert number_in(await app.receive()) == expected, seed
                expected += 1
            else:
                await client.wait()
        app.end()
        await client.lose()


async def test_a_close_behind_a_full_queue_comes_after_all_messages(parser: MakeParser) -> None:
    app, client = await opened(parser, queue_of(2))
    await client.send(b"".join(numbered(9)) + masked(CLOSE, close_payload(1000)))
    assert client.received == b""
    for number in range(9):
        assert number_in(await app.receive()) == number
    await client.wait()
    assert client.received == unmasked(CLOSE, close_payload(1000))
    assert await app.receive() == disconnect(1000)
    app.end()
    await client.lose()


async def test_the_applications_close_with_a_full_queue_reads_on_to_the_clients(parser: MakeParser) -> None:
    app, client = await opened(parser, queue_of(2))
    await client.send(b"".join(numbered(9)))
    assert not client.transport.reading
    await app.send({"type": "websocket.close"})
    assert client.transport.reading
    await client.send(masked(CLOSE, close_payload(1000)))
    assert client.transport.calls[-1] == "write_eof"
    assert [number_in(await app.receive()) for _ in range(2)] == [0, 1], "what was kept is still received"
    assert await app.receive() == disconnect(1000)
    app.end()
    await client.lose()


async def test_what_comes_before_accept_is_bounded_and_not_lost(parser: MakeParser) -> None:
    app, client = await connecting(parser, Settings(write_high_water=1000, ping_interval=NEVER))
    count = 0
    while client.transport.reading:
        await client.send(masked(TEXT, b"%d" % count + b"+" * 90))
        count += 1
    assert count == 11
    assert await app.receive() == CONNECT
    assert not client.transport.reading
    await app.send(ACCEPT)
    for number in range(count):
        assert number_in(await app.receive()) == number
    assert client.transport.reading
    app.end()
    await client.lose()


# Sizes.


@pytest.mark.parametrize("size", [1, 50, 124, 125, 126, 1000, 65535, 65536])
async def test_a_message_may_be_as_large_as_the_limit_and_no_larger(parser: MakeParser, size: int) -> None:
    app = Puppet()
    context = websocket_context(app, parser, Settings(max_size=size, ping_interval=NEVER))
    client = await accepted(app, context)
    await client.send(masked(TEXT, b"a" * size), masked(TEXT, b"b" * (size + 1)))
    assert await app.receive() == text("a" * size)
    reason = f"a message of more than {size} bytes"
    assert await app.receive() == disconnect(1009, reason)
    assert client.received == unmasked(CLOSE, close_payload(1009, reason))
    app.end()
    await client.lose()


async def test_the_high_water_mark_is_the_transports(parser: MakeParser) -> None:
    app, client = await opened(parser, Settings(write_high_water=5000))
    assert client.transport.high_water == 5000
    app.end()
    await client.lose()


# Pings.


async def test_a_client_is_pinged_and_its_pong_keeps_it(parser: MakeParser) -> None:
    app = Puppet()
    context = websocket_context(app, parser, PINGING)
    client = await accepted(app, context)
    seen = set()
    for _ in range(3):
        await pass_time(context, INTERVAL - 1)
        assert client.received == b""
        await pass_time(context, 1)
        ping = client.take()
        payload = ping[2:]
        assert ping == unmasked(PING, payload)
        seen.add(payload)
        await pass_time(context, TIMEOUT - 1)
        await client.send(masked(PONG, payload))
    assert len(seen) == 3
    assert not client.closed
    app.end()
    await client.lose()


async def test_a_client_that_answers_no_ping_is_closed_with_1011(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    app = Puppet()
    context = websocket_context(app, parser, PINGING, records=[])
    client = await accepted(app, context)
    await pass_time(context, INTERVAL)
    ping = client.take()
    # Neither another pong nor a message is an answer (RFC 6455, 5.5.3).
    await client.send(masked(PONG, b"another"), masked(PONG), masked(TEXT, b"a"), masked(PING, b"b"))
    assert client.take() == unmasked(PONG, b"b")
    await pass_time(context, TIMEOUT - 1)
    assert client.received == b"", ping
    await pass_time(context, 1)
    assert client.received == unmasked(CLOSE, close_payload(1011, "no answer to a ping"))
    assert client.transport.calls[-1] == "write_eof"
    assert await app.receive() == text("a")
    assert await app.receive() == disconnect(1011, "no answer to a ping")
    assert [record.getMessage() for record in error_log] == [
        "closed a WebSocket of 192.0.2.1:50000: it answered no ping"
    ]
    await pass_time(context, 2)
    assert client.transport.calls[-1] == "abort"
    await client.lose()
    app.end()
    await client.wait()
    assert closings(context) == [("/ws", 1011, (1, 0, 1, 0))]


async def test_a_pong_that_we_do_not_read_is_not_missed(parser: MakeParser) -> None:
    app = Puppet()
    context = websocket_context(
        app, parser, Settings(max_queue=1, ping_interval=INTERVAL, ping_timeout=TIMEOUT), records=[]
    )
    client = await accepted(app, context)
    await pass_time(context, INTERVAL)
    payload = client.take()[2:]
    await client.send(masked(TEXT, b"a"), masked(PONG, payload))
    assert not client.transport.reading
    await pass_time(context, 10 * TIMEOUT)
    assert client.received == b""
    assert await app.receive() == text("a")
    await client.wait()
    await pass_time(context, INTERVAL)
    assert client.received[0] == 0x80 | PING
    assert not client.closed
    app.end()
    await client.lose()


async def test_without_an_interval_there_are_no_pings(parser: MakeParser) -> None:
    app = Puppet()
    context = websocket_context(app, parser)
    client = await accepted(app, context)
    await pass_time(context, 100)
    assert client.received == b""
    assert not client.closed
    app.end()
    await client.lose()


async def test_without_a_timeout_a_ping_is_never_missed(parser: MakeParser) -> None:
    app = Puppet()
    context = websocket_context(app, parser, Settings(ping_interval=INTERVAL, ping_timeout=NEVER))
    client = await accepted(app, context)
    await pass_time(context, 100)
    assert len(client.received) == len(unmasked(PING, b"1234"))
    assert not client.closed
    app.end()
    await client.lose()


# Clients that do not take what they are sent.


async def congested(app: Puppet, client: WebSocketClient) -> asyncio.Task[None]:
    """Return a task whose send() waits, since the client takes nothing."""
    client.transport.full = True
    client.transport.buffered = 100_000
    sender = asyncio.create_task(send_text(app))
    await client.wait()
    assert not sender.done()
    return sender


async def send_text(app: Puppet) -> None:
    await app.send({"type": "websocket.send", "text": "a"})


def takes_all(client: WebSocketClient) -> None:
    client.transport.buffered = 0
    client.websocket.resume_writing()


async def test_send_waits_until_the_client_takes_what_was_written(parser: MakeParser) -> None:
    app, client = await opened(parser)
    senders = [await congested(app, client), asyncio.create_task(send_text(app))]
    await client.wait()
    assert not senders[1].done()
    senders.append(asyncio.create_task(send_text(app)))
    await client.wait()
    senders[1].cancel()
    await client.wait()
    assert [sender.done() for sender in senders] == [False, True, False], "the others wait on"
    takes_all(client)
    await senders[0]
    await senders[2]
    assert client.received == unmasked(TEXT, b"a") * 3
    app.end()
    await client.lose()


async def test_a_client_that_takes_nothing_is_cut(parser: MakeParser, error_log: list[logging.LogRecord]) -> None:
    app = Puppet()
    context = websocket_context(app, parser, PINGING, limits=LIMITS, records=[])
    client = await accepted(app, context)
    sender = await congested(app, client)
    await pass_time(context, STALL - 1)
    assert client.received == unmasked(TEXT, b"a"), "no ping while it takes nothing"
    assert not client.closed
    await pass_time(context, 1)
    assert client.transport.calls[-1] == "abort"
    assert await app.receive() == disconnect(1013, "the client is too slow")
    assert [record.getMessage() for record in error_log] == [
        "cut a WebSocket of 192.0.2.1:50000: it does not take what is sent to it"
    ]
    await client.lose()
    await sender
    with pytest.raises(OSError, match="closed"):
        await send_text(app)
    app.end()
    await client.wait()
    assert closings(context) == [("/ws", 1013, (0, 1, 0, 1))]


async def test_a_client_that_takes_it_slowly_is_kept(parser: MakeParser) -> None:
    app = Puppet()
    context = websocket_context(app, parser, limits=LIMITS)
    client = await accepted(app, context)
    sender = await congested(app, client)
    for _ in range(3 * STALL):
        client.transport.buffered -= 300
        await pass_time(context, 1)
    assert not client.closed
    takes_all(client)
    await sender
    app.end()
    await client.lose()


async def test_a_ping_that_waited_with_the_rest_may_be_answered_later(parser: MakeParser) -> None:
    app = Puppet()
    context = websocket_context(app, parser, PINGING)
    client = await accepted(app, context)
    await pass_time(context, INTERVAL)
    payload = client.take()[2:]
    sender = await congested(app, client)
    await pass_time(context, 2 * TIMEOUT)
    takes_all(client)
    await sender
    await pass_time(context, TIMEOUT - 1)
    assert not client.closed
    await client.send(masked(PONG, payload))
    await pass_time(context, INTERVAL - 1)
    assert not client.closed
    app.end()
    await client.lose()


async def test_pings_of_a_client_that_takes_nothing_have_one_answer(parser: MakeParser) -> None:
    app, client = await opened(parser)
    sender = await congested(app, client)
    client.take()
    await client.send(*[masked(PING, b"%d" % number) for number in range(50)])
    assert client.received == b""
    takes_all(client)
    await sender
    assert client.take() == unmasked(PONG, b"49")
    await client.send(masked(PING, b"x"))
    assert client.take() == unmasked(PONG, b"x")
    app.end()
    await client.lose()


async def test_a_closing_handshake_waits_for_a_slow_client(parser: MakeParser) -> None:
    app = Puppet()
    context = websocket_context(app, parser, limits=Limits(write_stall=100))
    client = await accepted(app, context)
    sender = await congested(app, client)
    closer = await close_beside(app, client)
    await pass_time(context, 50)
    assert not client.closed
    takes_all(client)
    await sender
    await closer
    await pass_time(context, 9)
    assert not client.closed, "it has its time from when it could see the close frame"
    await client.send(masked(CLOSE, close_payload(1000)))
    assert client.transport.calls[-1] == "write_eof"
    app.end()
    await client.lose()


async def close_beside(app: Puppet, client: WebSocketClient) -> asyncio.Task[None]:
    """The application closes in another task while its send() waits."""
    closer = asyncio.create_task(send_message(app, {"type": "websocket.close"}))
    await client.wait()
    assert client.received.endswith(unmasked(CLOSE, close_payload(1000)))
    return closer


async def test_what_is_still_to_be_sent_at_the_end_is_not_thrown_away(
    parser: MakeParser, error_log: list[logging.LogRecord]
) -> None:
    app = Puppet()
    context = websocket_context(app, parser, limits=LIMITS)
    client = await accepted(app, context)
    client.transport.buffered = 10_000  # below the mark
    await client.send(masked(CLOSE, close_payload(1000)))
    for _ in range(20):
        client.transport.buffered -= 300
        await pass_time(context, 1)
        assert "abort" not in client.transport.calls
    await pass_time(context, STALL)
    assert client.transport.calls[-1] == "abort", "it takes nothing any more"
    assert len(error_log) == 1
    app.end()
    await client.lose()


async def test_a_denial_for_a_client_that_is_slow_for_a_while_is_sent_to_its_end(parser: MakeParser) -> None:
    app = Puppet()
    context = websocket_context(app, parser, limits=LIMITS)
    client = await connect(context)
    await app.send({"type": "websocket.http.response.start", "status": 404})
    client.transport.full = True
    client.transport.buffered = 100_000
    piece: Message = {"type": "websocket.http.response.body", "body": b"no", "more_body": True}
    sender = asyncio.create_task(send_message(app, piece))
    await client.wait()
    assert not sender.done()
    takes_all(client)
    await sender
    await pass_time(context, 60)
    assert not client.closed
    await app.send({"type": "websocket.http.response.body", "body": b"pe"})
    assert client.received.endswith(b"\r\n\r\n2\r\nno\r\n2\r\npe\r\n0\r\n\r\n")
    app.end()
    await client.lose()


async def send_message(app: Puppet, message: Message) -> None:
    await app.send(message)


async def test_a_large_message_in_small_reads_is_received_whole(parser: MakeParser) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await receive()
        await send({"type": "websocket.send", "bytes": (await receive())["bytes"]})

    content = Random(1).randbytes(200_000)
    raw = masked(BINARY, content)
    client = await connect(websocket_context(app, parser))
    for at in range(0, len(raw), 1447):
        client.transport.deliver(raw[at : at + 1447])
    await client.wait()
    assert client.received == switching() + unmasked(BINARY, content) + unmasked(CLOSE, close_payload(1000))
    await client.lose()
