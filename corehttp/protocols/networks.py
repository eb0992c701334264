"""IP addresses and networks of them, as clients and proxies are known by. Pure.

`peer` imports it when the first address is judged: a worker that is behind no proxy spares the 0.3 MB of `ipaddress`.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address


class Networks:
    """Networks in CIDR notation, and addresses. Raises ValueError for an entry that is neither."""

    __slots__ = ("_networks", "families")

    def __init__(self, entries: Iterable[str]) -> None:
        networks = [_network(entry) for entry in entries]
        self._networks = [network for network in networks if network.prefixlen]
        # The versions of IP (4, 6) of which a network holds all addresses. No address counts as one of its own.
        self.families = {network.version for network in networks if not network.prefixlen}

    def __contains__(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def read_address(text: str) -> Address:
    """Return an address without its zone; for one of IPv4 mapped into IPv6 (RFC 4291, 2.5.5.2), that of IPv4.

    Raises ValueError.
    """
    address = ip_address(text.partition("%")[0] if ":" in text else text)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def networks_in(entries: Iterable[str]) -> tuple[tuple[bytes, int], ...]:
    """Return the first address of each network, 4 or 16 bytes, and how many of its bits all its addresses have.

    Raises ValueError for an entry that is neither a network nor an address.
    """
    return tuple((network.network_address.packed, network.prefixlen) for network in map(_network, entries))


def _network(entry: str) -> IPv4Network | IPv6Network:
    if "%" in entry:
        raise ValueError("a zone says nothing about who is to be trusted")
    network = ip_network(entry)
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped:
        return IPv4Network((int(network.network_address.ipv4_mapped), network.prefixlen - 96))
    return network
