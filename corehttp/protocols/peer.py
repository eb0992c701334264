"""Who sends a request and what it calls us: the address of the connection, or what a trusted proxy says. Pure.

A proxy tells in fields of the request what it has seen: X-Forwarded-For, -Proto, -Host, -Port and -Prefix. Anybody can
send these fields, so they are believed only of peers that the operator names (`--forwarded-allow-ips`).
"""

import re
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import quote, unquote

from corehttp.protocols.fields import is_host, is_prefix, put_host

Fields = list[tuple[bytes, bytes]]
Client = tuple[str, int]  # address and port; port 0 where a proxy names none
Address = IPv4Address | IPv6Address

HOPS = 32  # entries of a field that are looked at, from the right: more proxies in a row are none
_REMEMBERED = 512  # addresses whose trust is remembered, and about as many names of ordinary fields
_REMEMBERED_SIZE = 64  # bytes of the longest of them
_VERDICTS = 256  # that are remembered
_VERDICT_SIZE = 336  # bytes of the fields, with their names, of the longest; so all of them take 800 KB at most

_READ = frozenset(b"x-forwarded-" + what for what in (b"for", b"proto", b"host", b"port", b"prefix"))
_DECIDING = _READ | {b"host"}
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_DEFAULT_PORTS = {"http": 80, "https": 443}
_WITH_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+(?:%[^\]]*)?)\]|([0-9.]+))(?::([0-9]{1,5}))?").fullmatch
_HOST_AND_PORT = re.compile(rb"(\[[^\]]+\]|[^:\[\]]+)(?::([0-9]*))?").fullmatch
_UNESCAPED = "/~!$&'()*+,;=:@"  # in a path (RFC 3986, 3.3), beside what needs no escape anywhere
_PREFIX = re.compile(r"(?:/[A-Za-z0-9\-._~!$&'()*+;=:@%]+)*/?").fullmatch


@dataclass(frozen=True, slots=True)  # three fields of it are read for each request: in a third of a named tuple's time
class Peer:
    """Who sends a request, how it came to us, and under what name the client knows us."""

    client: Client | None  # None: a unix socket, and no proxy says more
    server: tuple[str, int | None] | None  # host and port, or the path of a unix socket and None
    scheme: str  # http or https
    root_path: str  # the prefix of the path that the client has asked for and we are not sent, decoded
    raw_root_path: bytes  # the same as the client has sent it
    name: str  # the client as log lines show it

    @property
    def is_local(self) -> bool:
        """Whether it is on a unix socket. A client that has left at once has no address either, but came to one."""
        return self.client is None and self.server is not None and self.server[1] is None


Verdict = tuple[Peer, bytes]  # who has sent a request, and what Host is to be; empty: as it is


class Trust:
    """The peers whose fields are believed, and which of these fields.

    `trusted` is the value of `--forwarded-allow-ips`: a comma list of addresses, networks in CIDR notation, `unix` for
    every peer on a unix socket, and `*` for every peer. Raises ValueError for anything else. `headers` is that of
    `--forwarded-fields`: the ends of the fields' names.

    `*`, and a network of all addresses, say of a peer that it is a proxy, since nobody else can reach us. They say
    nothing of the addresses that it names: with these for proxies, whatever a client has invented would be believed.
    """

    __slots__ = ("_everybody", "_families", "_known", "_networks", "_unix", "unread", "verdicts")

    def __init__(self, trusted: str, headers: str = "for,proto,host,port,prefix") -> None:
        self.unread = _READ - {b"x-forwarded-" + what.encode() for what in headers.split(",")}
        entries = [entry.strip() for entry in trusted.split(",")]
        self._everybody = "*" in entries
        self._unix = "unix" in entries
        networks = [_network(entry) for entry in entries if entry not in ("", "*", "unix")]
        self._networks = [network for network in networks if network.prefixlen]
        self._families = {network.version for network in networks if not network.prefixlen}
        self._known: dict[str, tuple[Client | None, bool]] = {}  # what addresses mean takes 4 us to find out
        # By what was said, as clients send several requests: a verdict takes 5 to 15 us, to look it up 2 us.
        self.verdicts: dict[tuple[object, ...], Verdict] = {}

    def believes(self, peer: Peer) -> bool:
        """Whether what this peer says of others is taken for true."""
        if self._everybody:
            return True
        if peer.client is None:
            return self._unix and peer.is_local
        try:
            client, trusted = self.meaning(peer.client[0])
        except ValueError:
            return False
        return trusted or (client is not None and (6 if ":" in client[0] else 4) in self._families)

    def meaning(self, entry: str) -> tuple[Client | None, bool]:
        """The client that an entry of X-Forwarded-For names, None for a unix socket, and whether it is trusted.

        Raises ValueError for what is no address: `unknown` and obfuscated names (RFC 7239, 6.3) among them.
        """
        known = self._known.get(entry)
        if known is None:
            known = self._find_out(entry)
            if len(entry) <= _REMEMBERED_SIZE:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[entry] = known
        return known

    def remember(self, key: tuple[object, ...], said: Fields, verdict: Verdict) -> None:
        """Keep a verdict for the next request in which the same is said; neither many nor long ones."""
        if sum([len(name) + len(value) for name, value in said]) <= _VERDICT_SIZE:
            if len(self.verdicts) >= _VERDICTS:
                self.verdicts.clear()
            self.verdicts[key] = verdict

    def _find_out(self, entry: str) -> tuple[Client | None, bool]:
        if entry in ("unix", "unix:"):  # nginx says `unix:` of a client on a unix socket
            return None, self._unix
        parts = _WITH_PORT(entry)
        host, port = (entry, 0) if parts is None else (parts[1] or parts[2], int(parts[3] or 0))
        if port > 65535 or (parts is not None and parts[1] and ":" not in host):
            raise ValueError(f"{entry!r} is no address")
        address = _address(host)
        return (str(address), port), any(address in network for network in self._networks)


def direct(peername: object, sockname: object, root_path: str = "") -> Peer:
    """The peer as the socket knows it; the names are those of getpeername(2) and getsockname(2)."""
    client = (_unmapped(peername[0]), peername[1]) if isinstance(peername, tuple) else None
    # A unix socket has no addresses but the path it is bound to (ASGI HTTP specification, "server").
    server: tuple[str, int | None] | None = None
    if isinstance(sockname, tuple):
        server = (_unmapped(sockname[0]), sockname[1])
    elif isinstance(sockname, bytes):  # an abstract one (unix(7))
        server = (sockname.decode(errors="surrogateescape"), None)
    elif isinstance(sockname, str) and sockname:
        server = (sockname, None)
    if server is not None:
        server = _ours.setdefault(server, server) if len(_ours) < _REMEMBERED else _ours.get(server, server)
    return Peer(client, server, "http", root_path, _escaped(root_path), name_of(client))


# Our own addresses: connections share them, for else each keeps 140 bytes of its own while it is idle.
_ours: dict[tuple[str, int | None], tuple[str, int | None]] = {}


@cache
def _escaped(path: str) -> bytes:
    """The path of `--root-path` as it stands in a target."""
    return quote(path, _UNESCAPED).encode()


def _unmapped(host: str) -> str:
    """An IPv4 address as such, where a socket serves both families (ipv6(7))."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def name_of(client: Client | None) -> str:
    """A client as log lines show it."""
    if client is None:
        return "-"
    host, port = client
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# Names of fields that were seen and are not a proxy's, as clients write them and in lower case, which the values are:
# `lower_name` fills it. To look a name up takes half the time of lower(), and its hash is known from then on.
ordinary: dict[bytes, bytes] = {}
proxied: dict[bytes, bytes] = {}  # The same for names of a proxy's fields.


def lower_name(name: bytes) -> bytes:
    """A field's name in lower case; it is remembered in `ordinary` or `proxied` unless it is long."""
    lower = name.lower()
    if len(name) <= _REMEMBERED_SIZE:
        known = proxied if is_forwarding(lower) else ordinary
        if len(known) >= _REMEMBERED:
            known.clear()
        known[name] = known[lower] = lower
    return lower


def forwarding(fields: dict[bytes, bytes]) -> list[bytes]:
    """The names of those fields of a request in which a proxy says what it has seen; none if all are `ordinary`."""
    return [name for name in fields if name in proxied or (name not in ordinary and is_forwarding(name))]


def is_forwarding(name: bytes) -> bool:
    """Whether a field, by its lower-case name, is one in which a proxy says what it has seen.

    An underscore counts as a hyphen, since both become the same variable behind CGI and WSGI (RFC 3875, 4.1.18).
    """
    name = name.replace(b"_", b"-")
    return name.startswith(b"x-forwarded") or name == b"forwarded" or name == b"x-real-ip"


def judge_peer(trust: Trust, peer: Peer, names: list[bytes], headers: Fields) -> tuple[Peer, Fields]:
    """Who really sends the request that `peer`, which is believed, has passed on; and the fields for the application.

    `names` are those that `forwarding` has found in it.

    The client is the right-most entry of X-Forwarded-For that is not trusted itself. Each proxy appends what it has
    seen, so what stands left of that entry came from the client, who may have invented it. An entry that is no address
    ends the search for the same reason: nobody knows who has said what stands left of it.
    """
    # What is not the proxy's own may be the client's: fields that it does not write, and X_Forwarded_For beside the
    # X-Forwarded-For that it does, which an application behind WSGI cannot tell apart.
    other = [name for name in names if name.find(b"_") >= 0 or name in trust.unread]
    if other:
        headers = [field for field in headers if field[0] not in other]
    said = [field for field in headers if field[0] in _DECIDING]
    key = (peer.server, peer.scheme, peer.root_path, *said)
    verdict = trust.verdicts.get(key)
    if verdict is None:
        verdict = _judge(trust, peer, said)
        if verdict[0].client is not peer.client:
            trust.remember(key, said, verdict)
    judged, host = verdict
    if host:
        headers = headers.copy()
        put_host(headers, host)
    return judged, headers


def _judge(trust: Trust, peer: Peer, headers: Fields) -> Verdict:
    said: dict[bytes, list[str]] = {}
    own_host = b""
    for name, value in headers:
        if name in _READ:
            said.setdefault(name, []).extend(_elements(value))
        elif name == b"host":
            own_host = value
    client, hops = _walk(trust, peer, said.get(b"x-forwarded-for", []))

    def of_that_hop(name: bytes) -> str:
        """What the proxy that names the client says in another field: its element is in the same place."""
        elements = said.get(name)
        return elements[-min(hops, len(elements))] if elements else ""

    scheme = _SCHEMES.get(of_that_hop(b"x-forwarded-proto").lower(), peer.scheme)
    root_path, raw_root_path = _prefix(of_that_hop(b"x-forwarded-prefix")) or (peer.root_path, peer.raw_root_path)
    host, server = _authority(
        of_that_hop(b"x-forwarded-host"), of_that_hop(b"x-forwarded-port"), own_host, scheme, peer.server
    ) or (b"", peer.server)
    return Peer(client, server, scheme, root_path, raw_root_path, name_of(client)), host


def lenient_fields(head: bytes | bytearray) -> Fields:
    """The fields of a head that is refused, as far as they can be told: for log lines only.

    A line that has not come in whole is none: half an address would be another client's.
    """
    lines = [line.partition(b":") for line in bytes(head).split(b"\r\n")[1:-1]]
    return [(name.lower(), value.strip(b" \t")) for name, colon, value in lines if colon]


def _walk(trust: Trust, peer: Peer, entries: list[str]) -> tuple[Client | None, int]:
    """The client, and how many entries from the right are believed (at least 1, for the peer's own)."""
    client = peer.client
    hops = 0
    for entry in reversed(entries[-HOPS:]):
        try:
            client, trusted = trust.meaning(entry)
        except ValueError:
            break
        hops += 1
        if not trusted:
            break
    return client, max(hops, 1)


def _elements(value: bytes) -> list[str]:
    """The last elements of a list field; empty ones do not count (RFC 9110, 5.6.1)."""
    # Quotes are no part of an address, and must not hold elements together: a client could open one and never close it.
    elements = [element.strip(' \t"') for element in value.decode("latin-1").rsplit(",", HOPS)[-HOPS:]]
    return [element for element in elements if element]


def _address(text: str) -> Address:
    """An address without its zone; one of IPv4 that is mapped into IPv6 (RFC 4291, 2.5.5.2) is IPv4's.

    Raises ValueError.
    """
    address = ip_address(text.partition("%")[0] if ":" in text else text)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _network(entry: str) -> IPv4Network | IPv6Network:
    if "%" in entry:
        raise ValueError("a zone says nothing about who is to be trusted")
    network = ip_network(entry)
    if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped:
        return IPv4Network((int(network.network_address.ipv4_mapped), network.prefixlen - 96))
    return network


def _prefix(value: str) -> tuple[str, bytes] | None:
    """A prefix of paths, decoded and as it came; None for what is none."""
    decoded = unquote(value)
    if _PREFIX(value) is None or not is_prefix(decoded):
        return None
    return decoded.rstrip("/"), value.rstrip("/").encode()


def _authority(
    host: str, port: str, own_host: bytes, scheme: str, server: tuple[str, int | None] | None
) -> tuple[bytes, tuple[str, int | None]] | None:
    """The Host field and the host and port as the client knows them; None if the proxy says nothing of them.

    A port in the host is the client's own word and stands; X-Forwarded-Port is for a host without one, or with the port
    of our own socket, which a proxy fills in that forwards no Host.
    """
    said_port = _port(port, scheme)
    named = _host_and_port(host.encode("latin-1"))
    if named is None and said_port is None:
        return None
    named = named or _host_and_port(own_host)
    if named is None:  # HTTP/1.0 has no Host
        return own_host, ("" if server is None else server[0], said_port)
    name, own_port = named
    if said_port is not None and (own_port is None or (server is not None and own_port == server[1])):
        own_port = said_port
    default = _DEFAULT_PORTS[scheme]
    value = name if own_port is None or own_port == default else b"%b:%d" % (name, own_port)
    return value, (name.strip(b"[]").decode("latin-1"), default if own_port is None else own_port)


def _host_and_port(host: bytes) -> tuple[bytes, int | None] | None:
    """The two parts of a host, without a port where it names none; None for what is no host."""
    parts = _HOST_AND_PORT(host) if is_host(host) else None
    if parts is None or int(parts[2] or 0) > 65535:
        return None
    return parts[1], int(parts[2]) if parts[2] else None


def _port(text: str, scheme: str) -> int | None:
    """What X-Forwarded-Port says; None for no port, and for the default port of the other scheme.

    A proxy behind another one that has ended TLS says 80 of itself: the client, who uses https, did not.
    """
    if not text.isascii() or not text.isdigit() or len(text) > 5:
        return None
    port = int(text)
    others = {default for name, default in _DEFAULT_PORTS.items() if name != scheme}
    return port if 0 < port <= 65535 and port not in others else None
