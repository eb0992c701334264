"""Messages in one process without a supervisor."""

import asyncio
import os

import pytest

from corehttp import bus


async def test_a_message_reaches_every_subscriber_of_its_topic() -> None:
    async with bus.subscribe("cache") as one, bus.subscribe("cache", "other") as two, bus.subscribe("other") as third:
        assert await bus.publish("cache", b"user:1") == 1
        assert await bus.publish_json("other", {"n": 1}) == 1
        for messages in (one, two):
            message = await anext(messages)
            assert (message.topic, message.data, message.sender, message.lost) == ("cache", b"user:1", 1, 0)
            assert not message.expects_reply
        assert (await anext(two)).json() == {"n": 1}
        assert (await anext(third)).topic == "other"


async def test_nobody_needs_to_subscribe() -> None:
    assert await bus.publish("nobody", b"") == 1


async def test_a_subscription_gets_messages_from_its_beginning_to_its_end() -> None:
    messages = bus.subscribe("cache")
    await bus.publish("cache", b"before")
    async with messages:
        await bus.publish("cache", b"within")
        assert (await anext(messages)).data == b"within"
    await bus.publish("cache", b"after")
    async with bus.subscribe("cache") as others:
        await bus.publish("cache", b"again")
        assert (await anext(others)).data == b"again"


async def test_a_slow_subscriber_is_told_how_many_messages_it_has_lost() -> None:
    async with bus.subscribe("cache", max_queue=3) as messages:
        for number in range(10):
            await bus.publish("cache", b"%d" % number)
        found = [await anext(messages) for _ in range(3)]
        assert [(message.data, message.lost) for message in found] == [(b"7", 7), (b"8", 0), (b"9", 0)]


async def test_a_subscriber_that_keeps_up_loses_nothing_of_a_publisher_without_pauses() -> None:
    async def read() -> list[bytes]:
        return [(await anext(messages)).data for _ in range(5000)]

    async with bus.subscribe("cache") as messages:
        reading = asyncio.create_task(read())
        for number in range(5000):
            await bus.publish("cache", b"%d" % number)
        assert await reading == [b"%d" % number for number in range(5000)]


async def test_tasks_that_share_a_subscription_share_its_messages_and_one_may_be_cancelled() -> None:
    async with bus.subscribe("jobs") as messages:
        waiting = [asyncio.create_task(messages.__anext__()) for _ in range(3)]
        await asyncio.sleep(0)
        await bus.publish("jobs", b"1")  # wakes the first task, which is cancelled before it runs
        waiting[0].cancel()
        await bus.publish("jobs", b"2")
        assert {(await task).data for task in waiting[1:]} == {b"1", b"2"}
        assert waiting[0].cancelled()


async def test_a_request_is_replied_to_by_one_subscriber_each_in_turn() -> None:
    async def serve(mark: bytes) -> None:
        async with bus.subscribe("double") as requests:
            async for message in requests:
                await message.reply(mark + message.data * 2)

    servants = [asyncio.create_task(serve(mark)) for mark in (b"a", b"b")]
    await asyncio.sleep(0)
    assert [await bus.request("double", b"x", to=to) for to in ("any", 1, "leader")] == [b"axx", b"bxx", b"axx"]
    for servant in servants:
        servant.cancel()


async def test_requests_and_replies_may_be_json() -> None:
    async def serve() -> None:
        async with bus.subscribe("add") as requests:
            async for message in requests:
                await message.reply_json(sum(message.json()))

    servant = asyncio.create_task(serve())
    await asyncio.sleep(0)
    assert await bus.request_json("add", [1, 2]) == 3
    servant.cancel()


@pytest.mark.parametrize(
    ("to", "why"), [("any", "nobody subscribes"), ("leader", "nobody subscribes"), (2, "there is no worker 2")]
)
async def test_a_request_that_nobody_can_reply_to_fails_at_once(to: int | str, why: str) -> None:
    with pytest.raises(bus.NoReplyError, match=f"no reply to 'nothing': {why}"):
        await bus.request("nothing", b"", to=to, timeout=60)


async def test_a_request_without_a_reply_times_out() -> None:
    async with bus.subscribe("silent"):
        with pytest.raises(TimeoutError, match=r"no reply to 'silent' within 0\.01 s"):
            await bus.request("silent", b"", timeout=0.01)


async def test_a_request_that_its_subscriber_has_no_room_for_fails_at_once() -> None:
    async with bus.subscribe("busy", max_queue=1):
        asked = asyncio.create_task(bus.request("busy", b"1", timeout=60))
        await asyncio.sleep(0)
        await bus.publish("busy", b"2")
        with pytest.raises(bus.NoReplyError, match="too much to do"):
            await asked


async def test_a_request_that_waits_for_a_subscriber_which_ends_fails_at_once() -> None:
    async with bus.subscribe("brief"):
        asked = asyncio.create_task(bus.request("brief", b"", timeout=60))
        await asyncio.sleep(0)
    with pytest.raises(bus.NoReplyError, match="or has ended"):
        await asked


async def test_a_message_is_replied_to_once_and_only_if_it_expects_that() -> None:
    async with bus.subscribe("ask") as messages:
        await bus.publish("ask", b"")
        with pytest.raises(RuntimeError, match="nobody waits for a reply"):
            await (await anext(messages)).reply(b"")
        asked = asyncio.create_task(bus.request("ask", b""))
        message = await anext(messages)
        assert message.expects_reply
        with pytest.raises(bus.MessageTooLargeError):
            await message.reply(bytes(65537))
        await message.reply(b"once")
        with pytest.raises(RuntimeError, match="nobody waits for a reply"):
            await message.reply(b"twice")
        assert await asked == b"once"


async def test_threads_publish_too() -> None:
    async with bus.subscribe("cache") as messages:
        assert await asyncio.to_thread(bus.publish_from_thread, "cache", b"thread") == 1
        assert (await anext(messages)).data == b"thread"


async def test_an_event_loop_does_not_wait_for_itself() -> None:
    with pytest.raises(RuntimeError, match="would block this event loop"):
        bus.publish_from_thread("cache", b"")


@pytest.mark.parametrize("to", ["nobody", 0, True, -1])
async def test_a_request_goes_to_a_worker_to_any_or_to_the_leader(to: int | str) -> None:
    with pytest.raises(ValueError, match="to must be 'any', 'leader' or the number of a worker"):
        await bus.request("topic", b"", to=to)


def test_a_subscription_has_topics_each_once_and_room() -> None:
    for topics in ((), ("a", "a")):
        with pytest.raises(ValueError, match="takes the topics, each once"):
            bus.subscribe(*topics)
    with pytest.raises(ValueError, match="max_queue must be a whole number"):
        bus.subscribe("a", max_queue=0)


async def test_a_message_that_is_too_large_is_refused() -> None:
    with pytest.raises(bus.MessageTooLargeError, match="it may have 65536 at most"):
        await bus.publish("large", bytes(65537))


async def test_messages_show_what_they_are() -> None:
    async with bus.subscribe("a") as messages:
        await bus.publish("a", b"xy")
        assert repr(await anext(messages)) == "<message 'a' of worker 1: 2 bytes>"


async def test_a_process_that_is_forked_does_not_wait_for_the_loop_of_its_parent() -> None:
    await bus.publish("t", b"")

    def fork() -> int:
        """Publish in a forked process, and return its exit code: 0 if that is refused."""
        pid = os.fork()
        if not pid:
            try:
                asyncio._set_running_loop(None)
                bus.publish_from_thread("t", b"")
            except RuntimeError as error:
                os._exit("no event loop of this process" not in str(error))
            finally:
                os._exit(2)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert await asyncio.to_thread(fork) == 0
