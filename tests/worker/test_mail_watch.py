"""How a worker gets onto the bus: when its application uses it, or another worker does."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from corehttp import bus, membership
from corehttp.bus import hubs
from corehttp.ipc.bus_frames import Hello, decode, encode_hello, encode_publish
from corehttp.ipc.mailbox import Mail, Mailbox, MailboxWriter, make_mailbox, message_pair
from corehttp.worker.mail_watch import MailWatch

Mails = tuple[Mail, MailboxWriter, Mailbox]
PATIENCE = 60.0  # seconds: only a fault takes as long


@pytest.fixture
def mail(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mails]:
    """The mail of this process, the other end of its mailbox, and the mailbox of a worker that was there before."""
    monkeypatch.setattr(membership, "current", membership.current)
    membership.become(2, 1, 17)
    (reader, writer), (before, to_before) = make_mailbox(), make_mailbox()
    other = Mailbox(before)
    mail = Mail(Mailbox(reader), [to_before])
    yield mail, writer, other
    mail.close()
    writer.close()
    other.close()


async def test_a_worker_greets_those_before_it_and_hears_those_after_it(mail: Mails) -> None:
    own, writer, other = mail
    watch = MailWatch(own, asyncio.get_running_loop())
    letter, fd = other.take()
    greeting = decode(letter)
    assert isinstance(greeting, Hello)
    assert (greeting.number, greeting.worker, greeting.leads) == (17, 2, False)
    assert fd is not None
    os.close(fd)
    ours, theirs = message_pair()
    with ours:
        assert writer.put(encode_hello(Hello(18, 1, 1, True)), theirs.fileno())
        theirs.close()
        async with bus.subscribe("t") as messages:
            ours.send(encode_publish(b"t", b"from a new worker", 1))
            async with asyncio.timeout(PATIENCE):
                assert (await anext(messages)).data == b"from a new worker"
            assert await bus.publish("t", b"") == 2
        assert len(hubs.descriptors()) == 1
        watch.close()
        watch.close()
        assert hubs.descriptors() == []


async def test_the_end_of_the_supervisor_does_not_keep_a_worker_busy(mail: Mails) -> None:
    own, writer, _ = mail
    loop = asyncio.get_running_loop()
    watch = MailWatch(own, loop)
    writer.close()
    async with asyncio.timeout(PATIENCE):
        while loop.remove_reader(own.mailbox.fileno()):  # as long as it is watched
            loop.add_reader(own.mailbox.fileno(), watch._read)
            await asyncio.sleep(0.001)
    watch.close()


async def test_another_event_loop_than_the_workers_has_no_bus(mail: Mails) -> None:
    watch = MailWatch(mail[0], asyncio.get_running_loop())
    with pytest.raises(RuntimeError, match=r"elsewhere use bus\.publish_from_thread"):
        await asyncio.to_thread(asyncio.run, bus.publish("t", b""))
    assert await asyncio.to_thread(bus.publish_from_thread, "t", b"") == 1
    watch.close()


def test_a_worker_does_without_the_bus_until_it_is_used() -> None:
    code = "import sys, corehttp.worker.process; print(*(name for name in sys.modules if name == 'corehttp.bus'))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
