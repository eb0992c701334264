"""What a new supervisor inherits from the one before: descriptors by number, in a variable of its environment."""

import base64
import os
from collections.abc import Iterable

from corehttp.asgi import Unchecked
from corehttp.ipc.codec import dump, load
from corehttp.records import field_names, record

_ALWAYS = 6  # fields of an Inheritance that its text always has
VARIABLE = "COREHTTP_ESTATE"

# Of one slot the descriptors of its listening sockets, and of the ends of its inbox to read and to write.
SlotDescriptors = tuple[tuple[int, ...], int, int]


@record
class Inheritance:
    """The descriptors that a new supervisor inherits, and what it has to know of them."""

    slots: tuple[SlotDescriptors, ...]  # those of the open slots, in the order of their numbers
    parting: bool  # whether each slot has sockets of its own where an endpoint can be parted
    inherited: bool  # whether a socket belongs to the program that started the service; releases without endpoints ask
    order: tuple[int, ...]  # the slots that listen, in the order in which they began to
    ready: int  # the pipe into which the new supervisor writes its answer
    address: tuple[object, ...]  # the options that say where the service listens; one with others binds anew
    # For each listening socket of a slot, the number of its endpoint. Empty if all are of the first one. An empty field
    # is left out of the text, so that a release without this field can read it.
    endpoints: tuple[int, ...] = ()
    # For each endpoint its own `order`. Empty if all have the same, and left out of the text then, too.
    orders: tuple[tuple[int, ...], ...] = ()

    @property
    def sockets(self) -> list[int]:
        """All descriptors of the slots, each of them once, in their order."""
        return list(dict.fromkeys(fd for own, *ends in self.slots for fd in (*own, *ends)))


def write(left: Inheritance) -> str:
    """Return the text for a variable of the environment. Raises OSError if a descriptor is not open."""
    fields = [getattr(left, name) for name in field_names(Inheritance)]
    while not fields[-1] and len(fields) > _ALWAYS:
        fields.pop()
    return base64.b64encode(dump((tuple(fields), _inodes([*left.sockets, left.ready])))).decode()


def read(text: str) -> Inheritance | None:
    """Return what `write` has made this text of; None for any other text, and for one that is for another process.

    A variable may be left over from another process, or hold anything. So every descriptor must be the same open file
    in this process as in the one that has written the text: device and inode tell that.
    """
    try:
        content: Unchecked = load(base64.b64decode(text, validate=True))
        (slots, parting, inherited, order, ready, address, *more), inodes = content
        places = tuple((tuple(map(_number, own)), _number(reader), _number(writer)) for own, reader, writer in slots)
        listening = tuple(map(_number, order))
        endpoints, orders = [*more, (), ()][:2]
        numbers = tuple(map(_number, endpoints))
        left = Inheritance(
            *(places, parting is True, inherited is True, listening, _number(ready), address, numbers),
            tuple(tuple(map(_number, own)) for own in orders),
        )
        fitting = isinstance(address, tuple) and max(listening, default=0) < max(len(places), 1)
        fitting = fitting and all(len(sockets) == len(numbers) for sockets, _, _ in places if numbers)
        fitting = fitting and max((slot for own in left.orders for slot in own), default=0) < max(len(places), 1)
        own = fitting and _inodes([*left.sockets, left.ready]) == inodes
        return left if own else None
    except (ValueError, TypeError, OSError):
        return None


def _number(value: object) -> int:
    """Return a value that can be a descriptor or the number of a slot. Raises ValueError for any other."""
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ValueError
    return value


def _inodes(fds: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return the device and inode of each descriptor. Raises OSError if one is not open."""
    stats = [os.fstat(fd) for fd in fds]
    return tuple((stat.st_dev, stat.st_ino) for stat in stats)
