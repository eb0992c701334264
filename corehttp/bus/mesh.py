"""The channels to all other workers of this machine: each worker greets those that were there before it.

A worker is given the mailboxes of the workers that were started before it. When it first uses the bus, or is greeted,
it makes a channel to each of them and puts the other end, with a Hello, into its mailbox. So each pair of workers has
one channel, whose end is the end of one of them. Before a worker publishes it looks into its mailbox: a worker that has
subscribed before, and so has greeted, gets the message.
"""

import asyncio
import logging
import socket
from collections.abc import Iterator

from corehttp.bus.hub import Hub
from corehttp.bus.peer import PeerWorker
from corehttp.bus.transport import Sent
from corehttp.ipc import mailbox
from corehttp.ipc.bus_frames import (
    FRAME_LIMIT,
    NOBODY,
    NOT_LEADING,
    Frame,
    FrameError,
    Hello,
    Publish,
    ReplyFrame,
    RequestFrame,
    decode,
    encode_hello,
    encode_leads,
    encode_publish,
    encode_reply,
)
from corehttp.ipc.mailbox import Mailbox, MailboxWriter

logger = logging.getLogger("corehttp.error")

MESSAGES_AT_ONCE = 64  # how many messages are taken out of a mailbox at once


class Mesh:
    """Takes messages to the other workers, and gives what they send to `hub`. Implements `transport.Transport`.

    It reads `own`, the mailbox of this worker, when it is told to; `others` are the mailboxes of those that were
    started before, which become its own.
    """

    def __init__(self, hub: Hub, loop: asyncio.AbstractEventLoop, own: Mailbox, others: list[MailboxWriter]) -> None:
        self._hub = hub
        self._loop = loop
        self._mailbox = own
        self.buffer = memoryview(bytearray(FRAME_LIMIT + 1))
        self._peers: dict[PeerWorker, None] = {}  # in the order in which they came
        self._turn = 0
        self._warned = False  # whether it was logged that something else than a message was in the mailbox
        self._end_watch = hub.membership.watch(lambda: loop.call_soon_threadsafe(self._tell_leads))
        for other in others:
            self._greet(other)

    def publish(self, topic: str, name: bytes, data: bytes, sender: int) -> tuple[int, list[asyncio.Future[bool]]]:
        """Send a message to all other workers; see `transport.Transport`."""
        self.read_mailbox()
        frame, taken, unknown = encode_publish(name, data, sender), 0, []
        for peer in tuple(self._peers):
            sent = peer.send(frame, topic)
            if isinstance(sent, bool):
                taken += sent and peer.hello is not None
            else:
                unknown.append(sent)
        return taken, unknown

    def others(self) -> Iterator[PeerWorker]:
        """Return the other workers that can be asked, each once, beginning with another one at each call."""
        self.read_mailbox()
        known = [peer for peer in self._peers if peer.hello is not None]
        self._turn += 1
        start = self._turn % len(known) if known else 0
        return iter(known[start:] + known[:start])

    def descriptors(self) -> list[int]:
        """Return the descriptors of all channels."""
        return [peer.fileno() for peer in self._peers]

    def close(self) -> None:
        """End all channels. A second call does nothing."""
        self._end_watch()
        self._end_watch = lambda: None
        for peer in tuple(self._peers):
            peer.close()

    def read_mailbox(self) -> bool:
        """Act on what is in the mailbox of this worker. Returns False if nobody can put anything in any more."""
        for _ in range(MESSAGES_AT_ONCE):
            if not self._mailbox.has_message():
                break
            try:
                letter, fd = self._mailbox.take()
            except EOFError:
                return False
            except OSError:  # no descriptor is free for what has come: it waits
                break
            try:
                self._open(letter, mailbox.adopt_channel(fd))
            except FrameError as error:
                if not self._warned:
                    self._warned = True
                    logger.warning("a process has put something else than a message into a mailbox: %s", error)
        return True

    def heard(self, peer: PeerWorker, frame: Frame) -> None:
        """Act on a frame that a peer has sent. Raises FrameError for one that may not come now."""
        if isinstance(frame, Publish):
            self._hub.deliver(frame.topic, frame.data, frame.sender, frame.lost)
        elif isinstance(frame, Hello):
            if peer.hello is not None:
                raise FrameError("twice who it is")
            peer.hello = frame
        elif isinstance(frame, RequestFrame):
            self._answer(peer, frame)
        elif isinstance(frame, ReplyFrame):
            self._hub.calls.resolve(peer, frame.number, frame.outcome, frame.data)
        elif peer.hello is not None:
            peer.hello.leads = frame.leads

    def left(self, peer: PeerWorker) -> None:
        """Forget a peer, whose channel is closed."""
        self._peers.pop(peer, None)
        self._hub.calls.lose(peer)

    def _greet(self, other: MailboxWriter) -> None:
        """Make a channel to a worker that was there before. One that has ended is passed over."""
        try:
            ours, theirs = mailbox.message_pair()
        except OSError as error:
            logger.error("there is no channel for messages to another worker: %s", error)
            other.close()
            return
        if other.put(encode_hello(self._own()), theirs.fileno()):
            self._peers[PeerWorker(ours, self._loop, self)] = None
        else:
            ours.close()
        theirs.close()
        other.close()

    def _open(self, letter: bytes, channel: socket.socket | None) -> None:
        """Act on a message in the mailbox: a new worker is greeted back, what an operator says is delivered."""
        try:
            frame = decode(letter)
        except FrameError:
            if channel is not None:
                channel.close()
            raise
        if isinstance(frame, Hello) and channel is not None:
            peer = PeerWorker(channel, self._loop, self)
            peer.hello = frame
            self._peers[peer] = None
            peer.greet(self._own())
        elif isinstance(frame, Publish) and channel is None:
            self._hub.deliver(frame.topic, frame.data, frame.sender, frame.lost)
        else:
            if channel is not None:
                channel.close()
            raise FrameError(f"a {type(frame).__name__}, {'with' if channel else 'without'} a channel")

    def _answer(self, peer: PeerWorker, asked: RequestFrame) -> None:
        """Give a request to a subscriber, or say why it has none."""

        def answer(outcome: int, data: bytes) -> Sent:
            return peer.send(encode_reply(asked.number, outcome, data))

        if asked.for_leader and not self._hub.membership.leads:
            answer(NOT_LEADING, b"")
        elif not self._hub.ask_here(asked.topic, asked.data, peer.worker, answer):
            answer(NOBODY, b"")

    def _own(self) -> Hello:
        own = self._hub.membership
        return Hello(own.number, own.worker, own.generation, own.leads)

    def _tell_leads(self) -> None:
        """Tell all other workers whether this one leads."""
        for peer in tuple(self._peers):
            peer.send(encode_leads(self._hub.membership.leads))
