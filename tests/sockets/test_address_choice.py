"""Which slots the addresses of clients prefer, in Python and by the program that the kernel runs."""

import ipaddress
import socket
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corehttp.protocols.networks import networks_in
from corehttp.sockets.address_choice import MOST_STEPS, AddressRule, preference, program
from tests.kit.bpf import packet, run

SECRET = b"s" * 32
ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
SLOTS = st.sets(st.integers(0, 999), min_size=1, max_size=12)
# What a service may see of one site, of many sites, and of phones that share a network: each 256 clients or more.
SITES = {
    "a /24": [f"192.0.2.{n}" for n in range(256)],
    "one in each /24": [f"10.{n % 4}.{n // 4}.1" for n in range(1024)],
    "every 256th of a /8": [f"10.{n >> 8}.{n & 255}.128" for n in range(0, 65536, 64)],
    "a /118 of IPv6": [f"2001:db8::{n:x}" for n in range(1024)],
    "/64s of a /54": [f"2001:db8:0:{n:x}::1" for n in range(1024)],
    "/48s": [f"2001:db8:{n:x}::1" for n in range(1024)],
    "a bit in another place": [str(ipaddress.ip_address((0x20010DB8 << 96) | 3 << i | 1 << j)) for i in range(90)
                               for j in range(i)][:1024],
}  # fmt: skip


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def prefers(address: str, slots: Iterable[int], secret: bytes = SECRET) -> tuple[int, ...]:
    return preference(secret, packed(address), slots)


def rule(*trusted: str) -> AddressRule:
    return AddressRule(SECRET, frozenset({0}), networks_in(trusted))


@given(
    st.lists(ADDRESSES, min_size=1, max_size=20),
    SLOTS,
    st.randoms(use_true_random=False),
    st.binary(min_size=32, max_size=32),
)
def test_the_program_chooses_the_slot_that_an_address_prefers(addresses, slots, chance, secret) -> None:  # type: ignore[no-untyped-def]
    positions = dict(zip(chance.sample(sorted(slots), len(slots)), range(len(slots)), strict=True))
    steps = program(AddressRule(secret, frozenset({0}), ()), list(positions.items()))
    assert steps is not None
    for address in addresses:
        assert run(steps, packet(address)) == positions[prefers(address, slots, secret)[0]]


@given(ADDRESSES, SLOTS.filter(lambda slots: len(slots) > 1), st.data())
def test_a_slot_that_goes_changes_nothing_for_addresses_that_prefer_another(
    address: str, slots: set[int], data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(sorted(slots)))
    before = prefers(address, slots)
    assert sorted(before) == sorted(slots)
    assert prefers(address, slots - {gone}) == tuple(slot for slot in before if slot != gone)
    # So the program for the other slots gives each address to the one that the workers' rule names next.
    left = [slot for slot in before if slot != gone]
    steps = program(rule(), [(slot, slot) for slot in left])
    assert steps is not None
    assert run(steps, packet(address)) == left[0]


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("count", [2, 7, 16])
def test_clients_of_a_site_are_spread_evenly(site: str, count: int) -> None:
    addresses = SITES[site]
    surprises = []
    for number in range(10):
        secret = number.to_bytes(32, "big")
        firsts = Counter(prefers(address, range(count), secret)[0] for address in addresses)
        expected = len(addresses) / count
        surprises.append(sum((firsts[slot] - expected) ** 2 / expected for slot in range(count)))
    # Chi-squared: the mean of so many is count - 1, and no single one is beyond eight standard deviations.
    freedom = count - 1
    assert abs(sum(surprises) / 10 - freedom) < 5 * (2 * freedom / 10) ** 0.5
    assert max(surprises) < freedom + 8 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("site", SITES)
def test_of_the_addresses_that_one_secret_puts_together_another_spreads_all(site: str) -> None:
    together = [address for address in SITES[site] if prefers(address, range(4))[0] == 0]
    again = Counter(prefers(address, range(4), b"t" * 32)[0] for address in together)
    assert len(together) > 40
    assert max(again.values()) < len(together) / 2


TRUSTED = ("192.0.2.1", "10.0.0.0/8", "172.16.0.0/12", "2001:db8::/33", "fd00::1", "fe80::/10")


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        *(("192.0.2.1", True), ("192.0.2.0", False), ("10.255.1.2", True), ("11.0.0.0", False), ("9.255.0.1", False)),
        *(("172.16.0.1", True), ("172.31.255.255", True), ("172.32.0.0", False), ("0.0.0.0", False)),
        *(("2001:db8:7fff::1", True), ("2001:db8:8000::1", False), ("2001:db9::", False), ("::", False)),
        *(("fd00::1", True), ("fd00::2", False), ("fd00:1::1", False), ("fe80::1", True), ("febf::", True)),
        *(("fec0::1", False), ("a00::", False), ("::10.0.0.1", False)),
    ],
)
def test_connections_of_a_trusted_proxy_go_to_any_slot(address: str, trusted: bool) -> None:
    steps = program(rule(*TRUSTED), [(slot, slot) for slot in range(4)])
    assert steps is not None
    found = {run(steps, packet(address), chance) for chance in range(100)}
    assert found == ({0, 1, 2, 3} if trusted else {prefers(address, range(4))[0]})


@pytest.mark.parametrize("everybody", ["0.0.0.0/0", "::/0"])
def test_a_network_of_all_addresses_is_that_of_one_family(everybody: str) -> None:
    steps = program(rule(everybody), [(slot, slot) for slot in range(4)])
    assert steps is not None
    for address in ("192.0.2.7", "2001:db8::7"):
        found = {run(steps, packet(address), chance) for chance in range(100)}
        assert (len(found) == 4) == ((":" in address) == (":" in everybody))


def test_chances_are_even_for_connections_of_a_trusted_proxy() -> None:
    steps = program(rule("192.0.2.0/24"), [(slot, slot) for slot in range(4)])
    assert steps is not None
    found = Counter(run(steps, packet("192.0.2.1"), chance * 0x9E3779B1 & 0xFFFFFFFF) for chance in range(4000))
    assert 850 < min(found.values()) <= max(found.values()) < 1150


def test_the_address_of_a_client_of_ipv4_is_the_same_however_it_is_written() -> None:
    mapped = networks_in(["::ffff:192.0.2.0/120"])
    assert mapped == networks_in(["192.0.2.0/24"])


@pytest.mark.parametrize(("slots", "fits"), [(1, True), (200, True), (220, True), (230, False), (1000, False)])
def test_there_is_no_program_for_more_slots_than_the_kernel_runs_steps_for(slots: int, fits: bool) -> None:
    steps = program(rule("127.0.0.1", "::1"), [(slot, slot) for slot in range(slots)])
    assert (steps is not None) == fits
    if steps is not None:
        assert len(steps) <= MOST_STEPS
        for address in ("192.0.2.1", "2001:db8::1"):
            assert run(steps, packet(address)) == prefers(address, range(slots))[0]


def test_there_is_no_program_for_a_list_of_proxies_that_is_too_long() -> None:
    networks = [f"10.{n >> 8}.{n & 255}.0/24" for n in range(1200)]
    assert program(rule(*networks[:900]), [(0, 0), (1, 1)]) is not None
    assert program(rule(*networks), [(0, 0), (1, 1)]) is None
