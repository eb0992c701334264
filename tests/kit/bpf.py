"""An interpreter of classic BPF programs that choose a socket for a new connection, and the packets they look at."""

import socket
from collections.abc import Sequence

from corehttp.sockets.address_choice import Step

MOST_STEPS = 4096
_HEADER, _ANCILLARY = 0xFFF00000, 0xFFFFF000  # SKF_NET_OFF, SKF_AD_OFF
_SIZES = {0x20: 4, 0x28: 2, 0x30: 1}  # bytes that are loaded from the packet
_WORD = 0xFFFFFFFF


def packet(address: str) -> bytes:
    """The network header of a packet that a client with this address has sent."""
    if ":" in address:
        return b"\x60" + bytes(7) + socket.inet_pton(socket.AF_INET6, address) + bytes(16)
    return b"\x45" + bytes(11) + socket.inet_aton(address) + bytes(4)


def run(steps: Sequence[Step], header: bytes, chance: int = 0) -> int:
    """What a program returns for a packet with this network header; `chance` is the random number that it may ask for.

    Asserts what the kernel checks, and what it would answer with 0: no step too many, no jump backwards or out of the
    program, no word of the memory that was not written before, and no load beyond the packet.
    """
    assert len(steps) <= MOST_STEPS
    a = x = at = 0
    memory: dict[int, int] = {}
    while True:
        code, yes, no, operand = steps[at]
        assert max(yes, no) <= 255
        assert 0 <= operand <= _WORD
        at += 1
        match code:
            case 0x20 if operand == _ANCILLARY + 56:
                a = chance
            case 0x20 | 0x28 | 0x30:
                first = operand - _HEADER
                assert 0 <= first <= len(header) - _SIZES[code], "it reads beyond the header"
                a = int.from_bytes(header[first : first + _SIZES[code]], "big")
            case 0x00:
                a = operand
            case 0x60:
                a = memory[operand]
            case 0x61:
                x = memory[operand]
            case 0x02:
                assert operand < 16
                memory[operand] = a
            case 0x07:
                x = a
            case 0xA4:
                a ^= operand
            case 0xAC:
                a ^= x
            case 0x24:
                a = a * operand & _WORD
            case 0x54:
                a &= operand
            case 0x74:
                assert operand < 32
                a >>= operand
            case 0x05:
                at += operand
            case 0x15:
                at += yes if a == operand else no
            case 0x2D:
                at += yes if a > x else no
            case 0x16:
                return a
            case _:
                raise AssertionError(f"a step with the code {code:#x}")
