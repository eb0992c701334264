"""What a supervisor leaves to its successor: descriptors by number, in a variable of the successor's environment."""

import base64
import os
from collections.abc import Iterable
from dataclasses import dataclass

from corehttp.asgi import Unchecked
from corehttp.ipc.codec import dump, load

VARIABLE = "COREHTTP_ESTATE"

Place = tuple[tuple[int, ...], int, int]  # a slot's listening sockets, and the ends of its inbox


@dataclass(frozen=True, slots=True)
class Inheritance:
    """The descriptors that a successor inherits, and what it has to know of them."""

    slots: tuple[Place, ...]
    parting: bool  # whether each slot has sockets of its own
    inherited: bool  # whether one belongs to the process that started the service, too; for releases without endpoints
    order: tuple[int, ...]  # the slots that listen, in the order in which they began to
    ready: int  # the pipe into which the successor writes its answer
    address: tuple[object, ...]  # the options that say where the service listens; a successor with others binds anew
    # For each listening socket of a slot, the number of its endpoint. Empty if all are of the first one: it is left out
    # of the text then, so that a release which knows one endpoint only can read that.
    endpoints: tuple[int, ...] = ()

    @property
    def sockets(self) -> list[int]:
        """Every descriptor of the slots, each one once."""
        return list(dict.fromkeys(fd for own, *ends in self.slots for fd in (*own, *ends)))


def write(left: Inheritance) -> str:
    """Encode it as text, as a variable of the environment can hold it; raises OSError if a descriptor is not open."""
    fields = tuple(getattr(left, name) for name in Inheritance.__slots__ if name != "endpoints" or left.endpoints)
    return base64.b64encode(dump((fields, _inodes([*left.sockets, left.ready])))).decode()


def read(text: str) -> Inheritance | None:
    """Decode what `write` has encoded; returns None for anything else, and for what was meant for another process.

    A variable may be left over from another process, or be anything. So every descriptor must be the same open
    file here as in the process that has written it.
    """
    try:
        content: Unchecked = load(base64.b64decode(text, validate=True))
        (slots, parting, inherited, order, ready, address, *more), inodes = content
        places = tuple((tuple(map(_number, own)), _number(reader), _number(writer)) for own, reader, writer in slots)
        listening = tuple(map(_number, order))
        [endpoints] = more or [()]
        numbers = tuple(map(_number, endpoints))
        left = Inheritance(places, parting is True, inherited is True, listening, _number(ready), address, numbers)
        fitting = isinstance(address, tuple) and max(listening, default=0) < max(len(places), 1)
        fitting = fitting and all(len(sockets) == len(numbers) for sockets, _, _ in places if numbers)
        own = fitting and _inodes([*left.sockets, left.ready]) == inodes
        return left if own else None
    except (ValueError, TypeError, OSError):
        return None


def _number(value: object) -> int:
    """Check that a value can be a descriptor or the number of a slot; raises ValueError if not."""
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ValueError
    return value


def _inodes(fds: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """The device and inode of each descriptor, which tell open files apart; raises OSError if one is not open."""
    stats = [os.fstat(fd) for fd in fds]
    return tuple((stat.st_dev, stat.st_ino) for stat in stats)
