"""The channel layer: two layers in one loop are those of two workers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from channels.exceptions import ChannelFull

from corehttp import bus
from corehttp.contrib.channels import BusChannelLayer

PATIENCE = 60.0  # seconds: only a fault takes as long
Layers = tuple[BusChannelLayer, BusChannelLayer]


@pytest.fixture
async def layers() -> AsyncIterator[Layers]:
    made = BusChannelLayer(capacity=3), BusChannelLayer(capacity=3)
    yield made
    for layer in made:
        await layer.close()


async def received(layer: BusChannelLayer, channel: str) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE):
        return await layer.receive(channel)


async def nothing_comes(layer: BusChannelLayer, channel: str) -> bool:
    """Whether nothing waits in a channel once all was done that was to be done."""
    for _ in range(20):
        await asyncio.sleep(0)
    return channel not in layer.channels


async def test_a_message_to_a_channel_of_its_own_process_comes_with_all_that_it_holds(layers: Layers) -> None:
    one, _ = layers
    message: dict[str, object] = {
        "type": "test.message",
        "text": "Ahoy-hoy!",
        "raw": b"\0\xff",
        "more": [1, 2.5, None, {"a": (True,)}],
    }
    channel = await one.new_channel()
    await one.send(channel, message)
    assert await received(one, channel) == message


async def test_a_message_to_a_channel_of_another_process_comes_too(layers: Layers) -> None:
    one, other = layers
    channel = await other.new_channel("inbox")
    assert channel.startswith("inbox.")
    await one.send(channel, {"type": "x", "text": "y" * 200_000})
    assert (await received(other, channel))["text"] == "y" * 200_000
    assert await nothing_comes(one, channel)


async def test_a_channel_that_is_full_refuses_what_its_own_process_sends(layers: Layers) -> None:
    one, other = layers
    channel = await one.new_channel()
    for _ in range(3):
        await one.send(channel, {"type": "x"})
    with pytest.raises(ChannelFull):
        await one.send(channel, {"type": "x"})
    await other.new_channel()
    await other.send(channel, {"type": "x"})  # nobody is told that it is dropped
    assert not await nothing_comes(one, channel)
    for _ in range(3):
        await received(one, channel)
    assert await nothing_comes(one, channel)


async def test_what_is_sent_to_a_group_comes_to_its_channels_in_all_processes(layers: Layers) -> None:
    one, other = layers
    first, second, third = await one.new_channel(), await other.new_channel(), await other.new_channel()
    await one.group_add("room", first)
    await other.group_add("room", second)
    await other.group_add("elsewhere", third)
    for sender in layers:
        await sender.group_send("room", {"type": "message.1"})
        assert await received(one, first) == {"type": "message.1"}
        assert await received(other, second) == {"type": "message.1"}
    assert await nothing_comes(other, third)


async def test_a_channel_of_another_process_can_be_added_to_a_group_and_removed_from_it(layers: Layers) -> None:
    one, other = layers
    await one.new_channel()
    channel = await other.new_channel()
    await one.group_add("room", channel)
    await one.group_send("room", {"type": "1"})
    assert await received(other, channel) == {"type": "1"}
    await one.group_discard("room", channel)
    await one.group_send("room", {"type": "2"})
    assert await nothing_comes(other, channel)


async def test_a_group_passes_over_a_channel_that_is_full(layers: Layers) -> None:
    one, other = layers
    full, empty = await one.new_channel(), await other.new_channel()
    await one.group_add("room", full)
    await other.group_add("room", empty)
    for number in range(5):
        await one.group_send("room", {"type": str(number)})
        assert await received(other, empty) == {"type": str(number)}
    assert [(await received(one, full))["type"] for _ in range(3)] == ["0", "1", "2"]
    assert await nothing_comes(one, full)


async def test_a_message_is_a_copy_for_each_receiver(layers: Layers) -> None:
    one, _ = layers
    channels = [await one.new_channel() for _ in range(2)]
    for channel in channels:
        await one.group_add("room", channel)
    await one.group_send("room", {"type": "x", "list": []})
    first, second = [await received(one, channel) for channel in channels]
    first["list"].append(1)
    assert second["list"] == []


async def test_a_flush_forgets_everything_everywhere(layers: Layers) -> None:
    one, other = layers
    channel = await other.new_channel()
    await other.group_add("room", channel)
    await other.send(channel, {"type": "x"})
    await one.flush()
    assert await nothing_comes(other, channel)
    assert not other.groups


async def test_a_receiver_that_is_cancelled_takes_nothing(layers: Layers) -> None:
    one, _ = layers
    channel = await one.new_channel()
    waiting = asyncio.create_task(one.receive(channel))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    await one.send(channel, {"type": "x"})
    assert await received(one, channel) == {"type": "x"}


@pytest.mark.parametrize("name", ["¯\\_(ツ)_/¯", "", "x" * 101, 7])
async def test_names_that_cannot_be_are_refused(layers: Layers, name: Any) -> None:
    one, _ = layers
    channel = await one.new_channel()
    for call in (one.send(name, {}), one.group_add(name, channel), one.group_send(name, {}), one.group_add("g", name)):
        with pytest.raises(TypeError, match="name must be a valid unicode string"):
            await call


@pytest.mark.parametrize("message", [{1: 2}, {"type": object()}, {"type": 1 << 64}])
async def test_a_message_that_cannot_be_sent_is_a_mistake_of_the_sender(layers: Layers, message: Any) -> None:
    with pytest.raises(ValueError, match=r"a key that is no text|a value of type"):
        await layers[0].group_send("room", message)


async def test_what_is_no_message_of_a_layer_is_passed_over(layers: Layers) -> None:
    one, _ = layers
    channel = await one.new_channel()
    for garbage in (b"", b"?", bytes(24), bytes(23) + b"\1garbage", bytes(23) + b"\1" + b"N"):
        await bus.publish("channels", garbage)
    await one.group_add("room", channel)
    await one.group_send("room", {"type": "x"})
    assert await received(one, channel) == {"type": "x"}


async def test_channels_may_have_capacities_of_their_own() -> None:
    layer = BusChannelLayer(channel_capacity={"small.*": 1})
    channel = await layer.new_channel("small")
    await layer.send(channel, {"type": "x"})
    with pytest.raises(ChannelFull):
        await layer.send(channel, {"type": "x"})
    await layer.close()
