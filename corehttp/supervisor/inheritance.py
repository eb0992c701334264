"""What a supervisor leaves to the one that takes its place, in the environment of that one: descriptors, by number."""

import base64
import os
from collections.abc import Iterable
from dataclasses import dataclass

from corehttp.asgi import Unchecked
from corehttp.ipc.codec import dump, load

VARIABLE = "COREHTTP_ESTATE"

Place = tuple[tuple[int, ...], int, int]  # a slot's listening sockets, and the ends of its inbox


@dataclass(frozen=True, slots=True)
class Estate:
    """The descriptors, and what is to be known of them."""

    slots: tuple[Place, ...]
    parting: bool  # each slot has sockets of its own
    inherited: bool  # the sockets belong to who started the service as well
    order: tuple[int, ...]  # the slots that listen, in the kernel's order
    ready: int  # a pipe, in which to say that its place is taken
    address: tuple[object, ...]  # what the options said of it

    @property
    def sockets(self) -> list[int]:
        """Each descriptor of the slots, once."""
        return list(dict.fromkeys(fd for own, *ends in self.slots for fd in (*own, *ends)))


def write(estate: Estate) -> str:
    """As a variable of the environment can have it."""
    fields = tuple(getattr(estate, name) for name in Estate.__slots__)
    return base64.b64encode(dump((fields, _inodes([*estate.sockets, estate.ready])))).decode()


def read(text: str) -> Estate | None:
    """What was left to us; None if it is not for us, or does not make sense.

    A variable may be left over from another process, or be anything. So every descriptor must be the very file that it
    was in the process that wrote this.
    """
    try:
        content: Unchecked = load(base64.b64decode(text, validate=True))
        (slots, parting, inherited, order, ready, address), inodes = content
        places = tuple((tuple(map(_number, own)), _number(reader), _number(writer)) for own, reader, writer in slots)
        estate = Estate(places, parting is True, inherited is True, tuple(map(_number, order)), _number(ready), address)
        fitting = isinstance(address, tuple) and max(estate.order, default=0) < max(len(places), 1)
        own = fitting and _inodes([*estate.sockets, estate.ready]) == inodes
        return estate if own else None
    except (ValueError, TypeError, OSError):
        return None


def _number(value: object) -> int:
    """A descriptor, or the place of a slot; raises ValueError for anything else."""
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ValueError
    return value


def _inodes(fds: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """What tells one open socket or pipe from any other; raises OSError for a descriptor that is not open."""
    stats = [os.fstat(fd) for fd in fds]
    return tuple((stat.st_dev, stat.st_ino) for stat in stats)
