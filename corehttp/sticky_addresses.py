"""Where the kernel can give a connection to the worker that the address of its client prefers (`--sticky ip`). Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from corehttp.bind_option import endpoint_versions
from corehttp.protocols.forwarded import read_trusted
from corehttp.protocols.networks import networks_in
from corehttp.sockets.address_choice import AddressRule, Network
from corehttp.sticky_option import is_tied_by_address


def address_rule(values: Mapping[str, Any], numbers: Sequence[int], secret: bytes) -> AddressRule | None:
    """Return for which endpoints the kernel is to choose by the client's address; None if for none of them.

    `values` are those of the options by name, `numbers` those of the endpoints that the options give, in their order,
    and `secret` is that of the service. Left out are endpoints where connections begin with a PROXY header, and all of
    them where everybody is a trusted proxy: who the client is says something that comes later. The kernel does
    not choose either where connections are limited: it would have clients wait for a worker that has no room.
    """
    is_possible = is_tied_by_address(values["sticky"]) and not values["limit_connections"]
    trusted = _trusted(values) if is_possible else None
    if trusted is None:
        return None
    versions = endpoint_versions(values["bind"], values["proxy_protocol"], len(numbers))
    direct = frozenset(number for number, expected in zip(numbers, versions, strict=True) if not expected)
    return AddressRule(secret, direct, trusted) if direct else None


def _trusted(values: Mapping[str, Any]) -> tuple[Network, ...] | None:
    """Return the networks of trusted proxies; None if everybody is one."""
    if not values["proxy_headers"]:
        return ()
    everybody, _, networks = read_trusted(values["forwarded_allow_ips"])
    return None if everybody else networks_in(networks)
