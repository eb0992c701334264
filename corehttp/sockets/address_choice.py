"""Which slots the address of a client prefers (`--sticky ip`): one hash, as Python and as a BPF program. Pure.

It is a rendezvous hash, as `ipc.rendezvous` has for other keys: each slot has a score for each address, and an address
prefers the slots in the order of their scores. A worker computes it (`preference`), and so does the kernel when it
chooses a socket for a new connection (`program`); a test runs both over many addresses. It has whole numbers of 32 bits
and no loops, since a classic BPF program has nothing else (kernel documentation, networking/filter).

The words of an address are mixed into a hash, each by two multiplications with secret odd numbers. The score of a slot
mixes that with a number of the slot's own. So nobody can choose addresses for one worker who has not learned from its
answers which address belongs to whom.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b

from corehttp.records import record

Step = tuple[int, int, int, int]  # a `struct sock_filter`: code, jump if true, jump if false, operand
Network = tuple[bytes, int]  # the first address, of 4 or 16 bytes, and how many bits all addresses have of it
MOST_STEPS = 4096  # BPF_MAXINSNS in linux/bpf_common.h

_WORD = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9  # odd, so that each slot has another number
_MIX = (0x7FEB352D, 0x846CA68B)  # `lowbias32` of C. Wellons' hash-prospector, whose shifts are 16, 15 and 16
_NAME = b"addresses"  # what the secret is used for here


@record
class AddressRule:
    """Where the kernel gives new connections to the workers that the addresses of their clients prefer."""

    secret: bytes  # that of the service (`ipc.sticky_area`)
    endpoints: frozenset[int]  # the numbers of the endpoints that it holds for
    trusted: tuple[Network, ...]  # the networks of proxies, whose own addresses say nothing of their clients


@record
class _Constants:
    """The secret numbers of the hash. The first word of each tuple is where the hash begins."""

    v4: tuple[int, ...]
    v6: tuple[int, ...]
    slots: int


@lru_cache(8)
def _constants(secret: bytes) -> _Constants:
    """Return the numbers that follow from the secret of a service."""
    digest = blake2b(_NAME, digest_size=52, key=secret).digest()
    words = [int.from_bytes(digest[at : at + 4], "big") for at in range(0, len(digest), 4)]
    v4, v6 = ((first, *(factor | 1 for factor in factors)) for first, *factors in (words[:3], words[3:12]))
    return _Constants(v4, v6, words[12])


def preference(secret: bytes, address: bytes, slots: Iterable[int]) -> tuple[int, ...]:
    """Return the slots in the order in which an address, of 4 or 16 bytes, prefers them."""
    constants = _constants(secret)
    found, *factors = constants.v4 if len(address) == 4 else constants.v6
    for at in range(0, len(address), 4):
        found = (found ^ int.from_bytes(address[at : at + 4], "big")) * factors[at // 2] & _WORD
        found = (found ^ found >> 16) * factors[at // 2 + 1] & _WORD
        found ^= found >> 15

    def rank(slot: int) -> tuple[int, int]:
        score = found ^ _number(constants, slot)
        score = (score ^ score >> 16) * _MIX[0] & _WORD
        score = (score ^ score >> 15) * _MIX[1] & _WORD
        return -(score ^ score >> 16), slot

    return tuple(sorted(slots, key=rank))


def _number(constants: _Constants, slot: int) -> int:
    """Return the number of a slot that its scores are made with."""
    return constants.slots + (slot + 1) * _GOLDEN & _WORD


# The codes of the steps (linux/bpf_common.h): a is the accumulator, x the other register, M the memory of 16 words.
_LOAD_BYTE, _LOAD_WORD, _LOAD_NUMBER = 0x30, 0x20, 0x00  # a = packet[k], or k itself
_RECALL, _RECALL_X, _KEEP = 0x60, 0x61, 0x02  # a = M[k]; x = M[k]; M[k] = a
_TO_X = 0x07  # x = a
_XOR, _XOR_X, _MULTIPLY, _AND, _SHIFT = 0xA4, 0xAC, 0x24, 0x54, 0x74  # a ^= k; a ^= x; a *= k; a &= k; a >>= k
_JUMP, _IF_EQUAL, _IF_GREATER_X = 0x05, 0x15, 0x2D  # by k; by one of two distances, for a == k and a > x
_RETURN = 0x16  # a

# The data of the packet begin behind the headers here, so the network header is found by its own offset (SKF_NET_OFF).
_HEADER = 0xFFF00000
_RANDOM = 0xFFFFF000 + 56  # SKF_AD_OFF + SKF_AD_RANDOM: a random number
_SOURCES = {4: _HEADER + 12, 16: _HEADER + 8}  # where the address of the client begins (RFC 791, 3.1; RFC 8200, 3)
_HASH, _BEST, _POSITION = 0, 1, 2  # words of the memory
# Operands of jumps that are known only when all steps are there.
_TO_RANDOM, _TO_SCORES = -1, -2


def program(rule: AddressRule, choices: Sequence[tuple[int, int]]) -> list[Step] | None:
    """Return the steps of a BPF program that chooses among slots as `preference` does; None if they are too many.

    `choices` are the slots, each with the position of its socket among those that share the port, which the program
    returns. A proxy's connections go to any of the slots, each with the same chance: they carry other clients, and by
    its address all of them would come in at one worker.
    """
    constants = _constants(rule.secret)
    v4 = [*_leave_proxies(rule.trusted, 4), *_hash_address(4, constants.v4), (_JUMP, 0, 0, _TO_SCORES)]
    v6 = [*_leave_proxies(rule.trusted, 16), *_hash_address(16, constants.v6), (_JUMP, 0, 0, _TO_SCORES)]
    # The version of IP is in the first four bits of the header. A client of IPv4 has a packet of IPv4 also where the
    # socket is one of IPv6.
    version = [(_LOAD_BYTE, 0, 0, _HEADER), (_SHIFT, 0, 0, 4), (_IF_EQUAL, 1, 0, 4), (_JUMP, 0, 0, len(v4))]
    steps = [*version, *v4, *v6]
    to_random = len(steps)
    steps += [(_LOAD_WORD, 0, 0, _RANDOM), (_KEEP, 0, 0, _HASH)]
    targets = {_TO_RANDOM: to_random, _TO_SCORES: len(steps)}
    steps = [
        (code, yes, no, targets[operand] - index - 1 if operand in targets else operand)
        for index, (code, yes, no, operand) in enumerate(steps)
    ]
    steps += _choose(constants, sorted(choices))
    return steps if len(steps) <= MOST_STEPS else None


def _leave_proxies(trusted: Iterable[Network], size: int) -> list[Step]:
    """Return what jumps away with a client's address, of `size` bytes, in one of the networks."""
    steps: list[Step] = []
    for first, length in trusted:
        if len(first) != size:
            continue
        comparing = [_same_word(first, length, at) for at in range(0, size, 4) if at * 8 < length]
        left = sum(map(len, comparing)) + 1
        for word in comparing:
            left -= len(word)
            code, yes, _, operand = word.pop()
            steps += [*word, (code, yes, left, operand)]
        steps.append((_JUMP, 0, 0, _TO_RANDOM))
    return steps


def _same_word(first: bytes, length: int, at: int) -> list[Step]:
    """Return what compares the word `at` this byte of a client's address with a network; a step has no distance yet."""
    bits = min(32, length - at * 8)
    mask = _WORD << (32 - bits) & _WORD
    masked = [] if bits == 32 else [(_AND, 0, 0, mask)]
    word = int.from_bytes(first[at : at + 4], "big") & mask
    return [(_LOAD_WORD, 0, 0, _SOURCES[len(first)] + at), *masked, (_IF_EQUAL, 0, 0, word)]


def _hash_address(size: int, numbers: Sequence[int]) -> list[Step]:
    """Return what leaves the hash of a client's address, of `size` bytes, in the memory."""
    first, *factors = numbers
    steps: list[Step] = [(_LOAD_NUMBER, 0, 0, first), (_KEEP, 0, 0, _HASH)]
    for at in range(0, size, 4):
        steps += [(_LOAD_WORD, 0, 0, _SOURCES[size] + at), (_RECALL_X, 0, 0, _HASH), (_XOR_X, 0, 0, 0)]
        steps += [(_MULTIPLY, 0, 0, factors[at // 2]), *_fold(16)]
        steps += [(_MULTIPLY, 0, 0, factors[at // 2 + 1]), *_fold(15), (_KEEP, 0, 0, _HASH)]
    return steps


def _fold(bits: int) -> list[Step]:
    """Return what mixes the upper bits of a number into its lower ones: a ^= a >> bits."""
    return [(_TO_X, 0, 0, 0), (_SHIFT, 0, 0, bits), (_XOR_X, 0, 0, 0)]


def _choose(constants: _Constants, choices: Sequence[tuple[int, int]]) -> list[Step]:
    """Return what returns the position of the slot with the highest score, of equal ones the first."""
    steps: list[Step] = [(_LOAD_NUMBER, 0, 0, 0), (_KEEP, 0, 0, _BEST)]
    steps += [(_LOAD_NUMBER, 0, 0, choices[0][1]), (_KEEP, 0, 0, _POSITION)]
    for slot, position in choices:
        steps += [(_RECALL, 0, 0, _HASH), (_XOR, 0, 0, _number(constants, slot)), *_fold(16)]
        steps += [(_MULTIPLY, 0, 0, _MIX[0]), *_fold(15), (_MULTIPLY, 0, 0, _MIX[1]), *_fold(16)]
        steps += [(_RECALL_X, 0, 0, _BEST), (_IF_GREATER_X, 0, 3, 0)]
        steps += [(_KEEP, 0, 0, _BEST), (_LOAD_NUMBER, 0, 0, position), (_KEEP, 0, 0, _POSITION)]
    return [*steps, (_RECALL, 0, 0, _POSITION), (_RETURN, 0, 0, 0)]
