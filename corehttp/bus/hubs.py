"""The hub of each event loop."""

import asyncio
import os
import sys
from weakref import WeakKeyDictionary

from corehttp import membership
from corehttp.bus.hub import Hub

if sys.platform != "win32":  # where a process has no others to be connected to
    from corehttp.bus.mesh import Mesh

_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def hub() -> Hub:
    """Return the hub of the running event loop, which is made when it is asked for first.

    In a worker of a supervisor it is connected to those of the other workers, and only the worker's own loop has one;
    in any other process each loop has a hub of its own. Raises RuntimeError where no loop runs, or another one.
    """
    loop = asyncio.get_running_loop()
    return _hubs.get(loop) or _connected(loop)


def _connected(loop: asyncio.AbstractEventLoop) -> Hub:
    """Make the hub of a loop. Raises RuntimeError as `hub` does."""
    own = membership.current
    if own.loop is not None and own.loop is not loop and own.process == os.getpid():
        raise RuntimeError("corehttp.bus belongs to the worker's event loop: elsewhere use bus.publish_from_thread()")
    for ended in [known for known in _hubs if known.is_closed()]:
        del _hubs[ended]
    made = _hubs[loop] = Hub(own)
    if sys.platform != "win32" and own.mail is not None and own.loop is loop:
        made.transport = Mesh(made, loop, own.mail.mailbox, own.mail.take_others())
        made.transport.read_mailbox()
    return made


def main_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop for threads that have none: the worker's, else the last one that runs and has a hub.

    Raises RuntimeError if there is none, and in the thread of an event loop, which must not wait for itself.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("publish_from_thread() would block this event loop: await bus.publish() instead")
    own, process = membership.current, os.getpid()
    if own.loop is not None and own.process == process:
        return own.loop
    running = [loop for loop, made in tuple(_hubs.items()) if loop.is_running() and made.process == process]
    if not running:
        raise RuntimeError("no event loop of this process has used corehttp.bus yet")
    return running[-1]


def descriptors() -> list[int]:
    """Return the descriptors of the channels of this process to other workers."""
    return [fd for found in tuple(_hubs.values()) if found.transport for fd in found.transport.descriptors()]


def disconnect() -> None:
    """End the channels of the running loop's hub to other workers."""
    found = _hubs.get(asyncio.get_running_loop())
    if found is not None and found.transport is not None:
        found.transport.close()
