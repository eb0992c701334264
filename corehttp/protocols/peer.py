"""Who sends a request and what it calls us: the address of the connection, or what a trusted proxy says. Pure.

A proxy tells in fields of the request what it has seen (`forwarded`). Anybody can send these fields, so they are
believed only of peers that the operator names (`--forwarded-allow-ips`).
"""

from functools import cache
from typing import TYPE_CHECKING, Final

from corehttp.asgi import Headers
from corehttp.patterns import pattern
from corehttp.protocols.field_names import FORWARDED, HOPS, PROXY_FIELDS, X_FIELDS
from corehttp.protocols.fields import is_host, is_prefix, put_host
from corehttp.protocols.forwarded import names_of, read_trusted, said_in
from corehttp.records import mutable_record

if TYPE_CHECKING:
    from corehttp.protocols.networks import Networks

Client = tuple[str, int]  # address and port; port 0 where a proxy names none
ServerAddress = tuple[str, int | None]  # address and port, or the path of a unix socket and None

_LOOPBACK = {"127.0.0.1", "::1"}  # entries that need no look at `networks` to be taken for addresses
_REMEMBERED = 512  # addresses whose trust is remembered
_REMEMBERED_SIZE = 64  # bytes of the longest of them
_ATTRIBUTIONS = 256  # attributions that are remembered
_ATTRIBUTION_SIZE = 336  # bytes of the fields, with their names, of the longest; so all of them take 800 KB at most

_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_DEFAULT_PORTS = {"http": 80, "https": 443}
_WITH_PORT = pattern(r"(?:\[([0-9A-Fa-f:.]+(?:%[^\]]*)?)\]|([0-9.]+))(?::([0-9]{1,5}))?")
_HOST_AND_PORT = pattern(rb"(\[[^\]]+\]|[^:\[\]]+)(?::([0-9]*))?")
# Characters that are not escaped in a path (RFC 3986, 3.3), beside those that are escaped nowhere.
_UNESCAPED = "/~!$&'()*+,;=:@"
_PREFIX_SIZE = 1024  # characters of the longest prefix that is taken
_PREFIX = pattern(r"(?:/[A-Za-z0-9\-._~!$&'()*+;=:@%]+)*/?")


# Three fields of it are read for each request: in a third of a named tuple's time. `Final` says that nothing changes
# them; a class that enforces it while the program runs takes 0.9 us to make instead of 0.2, and one is made for each
# connection.
@mutable_record
class Peer:
    """Who sends a request, how it came to us, and under what name the client knows us."""

    client: Final[Client | None]  # None: a unix socket, and no proxy says more
    server: Final[ServerAddress | None]  # the server as the client knows it
    scheme: Final[str]  # http or https
    root_path: Final[str]  # the prefix of the path that the client has asked for and we are not sent, decoded
    raw_root_path: Final[bytes]  # the same as the client has sent it
    name: Final[str]  # the client as log lines show it

    __slots__ = ("client", "name", "raw_root_path", "root_path", "scheme", "server")

    def __init__(
        self,
        client: Client | None,
        server: ServerAddress | None,
        scheme: str,
        root_path: str,
        raw_root_path: bytes,
        name: str,
    ) -> None:
        self.client = client
        self.server = server
        self.scheme = scheme
        self.root_path = root_path
        self.raw_root_path = raw_root_path
        self.name = name

    @property
    def is_local(self) -> bool:
        """Whether it is on a unix socket. A client that has left at once has no address either, but came to one."""
        return self.client is None and self.server is not None and self.server[1] is None


Attribution = tuple[Peer, bytes]  # who has sent a request, and what Host is to be; empty: as it is


class Trust:
    """The peers whose fields are believed, and which of these fields.

    `trusted` is the value of `--forwarded-allow-ips`: a comma list of addresses, networks in CIDR notation, `unix` for
    every peer on a unix socket, and `*` for every peer. Raises ValueError for anything else. `fields` is that of
    `--forwarded-fields`, and `hops` that of `--forwarded-hops`: how many proxies there are in a row, each of which adds
    an entry for the client that it has seen; 0: as many as have addresses that are trusted.

    `*`, and a network of all addresses, mean that every peer is a proxy, since nobody else can reach us. They do not
    make the addresses in its fields those of proxies: then whatever a client has invented would be believed.
    """

    __slots__ = (
        "_everybody",
        "_known",
        "_networks",
        "_trusted",
        "_unix",
        "attributions",
        "deciding",
        "hops",
        "names",
        "names_clients",
    )

    names: dict[bytes, str]  # which fields are read, by their names in lower case, and what each says

    def __init__(self, trusted: str, fields: str = PROXY_FIELDS, hops: int = 0) -> None:
        self.names = names_of(fields)
        self.deciding = {b"host", *self.names}  # what follows from a request depends on these fields alone
        self.names_clients = bool({"for", FORWARDED}.intersection(self.names.values()))
        self.hops = hops
        self._everybody, self._unix, self._trusted = read_trusted(trusted)
        self._networks: Networks | None = None if _LOOPBACK.issuperset(self._trusted) else self._read_networks()
        self._known: dict[str, tuple[Client | None, bool]] = {}  # what addresses mean takes 4 us to find out
        # By what was said, as clients send several requests: an attribution takes 5 to 20 us, to look it up 2 us.
        self.attributions: dict[tuple[object, ...], Attribution] = {}

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
        if trusted or client is None:
            return trusted
        networks = self._networks or self._read_networks()
        return (6 if ":" in client[0] else 4) in networks.families

    def meaning(self, entry: str) -> tuple[Client | None, bool]:
        """Return the client that an entry of X-Forwarded-For names, None for a unix socket, and whether it is trusted.

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

    def remember(self, key: tuple[object, ...], said: Headers, attribution: Attribution) -> None:
        """Keep an attribution for the next request in which the same is said; neither many nor long ones."""
        if sum([len(name) + len(value) for name, value in said]) <= _ATTRIBUTION_SIZE:
            if len(self.attributions) >= _ATTRIBUTIONS:
                self.attributions.clear()
            self.attributions[key] = attribution

    def _read_networks(self) -> "Networks":
        from corehttp.protocols.networks import Networks  # here, since most workers need none of it

        self._networks = Networks(self._trusted)
        return self._networks

    def _find_out(self, entry: str) -> tuple[Client | None, bool]:
        from corehttp.protocols.networks import read_address

        if entry in ("unix", "unix:"):  # nginx says `unix:` of a client on a unix socket
            return None, self._unix
        parts = _WITH_PORT().fullmatch(entry)
        host, port = (entry, 0) if parts is None else (parts[1] or parts[2], int(parts[3] or 0))
        if port > 65535 or (parts is not None and parts[1] and ":" not in host):
            raise ValueError(f"{entry!r} is no address")
        networks = self._networks or self._read_networks()
        address = read_address(host)
        return (str(address), port), address in networks


def direct(peername: object, sockname: object, root_path: str = "", scheme: str = "http") -> Peer:
    """Return the peer of a connection; the names are those of getpeername(2) and getsockname(2)."""
    client = (_unmapped(peername[0]), peername[1]) if isinstance(peername, tuple) else None
    server = _ours.get(sockname) or _server(sockname)
    return Peer(client, server, scheme, root_path, _escaped(root_path), name_of(client))


# Our own addresses, by what getsockname(2) says. Connections share them, for else each keeps 140 bytes of its own while
# it is idle; and to look one up takes half the time of making it.
_ours: dict[object, ServerAddress] = {}


def _server(sockname: object) -> ServerAddress | None:
    """Return our own address, as a scope has it; None if there is none, as of a connection that has ended."""
    server: ServerAddress | None = None
    if isinstance(sockname, tuple):
        server = (_unmapped(sockname[0]), sockname[1])
    elif isinstance(sockname, bytes):  # an abstract unix socket (unix(7))
        server = (sockname.decode(errors="surrogateescape"), None)
    elif isinstance(sockname, str) and sockname:
        # A unix socket has no addresses but the path it is bound to (ASGI HTTP specification, "server").
        server = (sockname, None)
    if server is not None and len(_ours) < _REMEMBERED:
        _ours[sockname] = server
    return server


@cache
def _escaped(path: str) -> bytes:
    """Return a path, percent-encoded as in the target of a request (RFC 3986, 2.1)."""
    if not path:
        return b""
    from urllib.parse import quote  # here, as below: it takes 0.1 MB

    return quote(path, _UNESCAPED).encode()


def _unmapped(host: str) -> str:
    """Return an address; one of IPv4 without the form that it has where a socket serves both families (ipv6(7))."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


def name_of(client: Client | None) -> str:
    """Return a client as log lines show it."""
    if client is None:
        return "-"
    host, port = client
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def judge_peer(trust: Trust, peer: Peer, names: list[bytes], headers: Headers) -> tuple[Peer, Headers]:
    """Return who sends the request that a trusted `peer` has passed on, and the fields that the application gets.

    `names` are those that `forwarding` has found in it.

    The client is the right-most entry of X-Forwarded-For that is not trusted itself. Each proxy appends what it has
    seen, so what stands left of that entry came from the client, who may have invented it. An entry that is no address
    ends the search for the same reason: nobody knows who has said what stands left of it.
    """
    # What is not the proxy's own may be the client's: fields that it does not write, and X_Forwarded_For beside the
    # X-Forwarded-For that it does, which an application behind WSGI cannot tell apart.
    other = [name for name in names if name.find(b"_") >= 0 or (name in X_FIELDS and name not in trust.names)]
    if other:
        headers = [field for field in headers if field[0] not in other]
    said = [field for field in headers if field[0] in trust.deciding]
    key = (peer.server, peer.scheme, peer.root_path, *said)
    attribution = trust.attributions.get(key)
    if attribution is None:
        attribution = _judge(trust, peer, said)
        if attribution[0].client is not peer.client:
            trust.remember(key, said, attribution)
    judged, host = attribution
    if host:
        headers = headers.copy()
        put_host(headers, host)
    return judged, headers


def _judge(trust: Trust, peer: Peer, headers: Headers) -> Attribution:
    """Return who has sent a request that came from a trusted `peer`, and what its Host is to be."""
    said = said_in(headers, trust.names)
    own_host = b""
    for name, value in headers:
        if name == b"host":
            own_host = value
    client, hops = _walk(trust, peer, said.get("for", []))

    def of_that_hop(what: str) -> str:
        """Return the element of the field `what` by the proxy that names the client; if empty, the next one's."""
        for element in said.get(what, ())[-hops:]:
            if element:
                return element
        return ""

    scheme = _SCHEMES.get(of_that_hop("proto").lower(), peer.scheme)
    root_path, raw_root_path = _prefix(of_that_hop("prefix")) or (peer.root_path, peer.raw_root_path)
    host, server = _authority(of_that_hop("host"), of_that_hop("port"), own_host, scheme, peer.server) or (
        b"",
        peer.server,
    )
    return Peer(client, server, scheme, root_path, raw_root_path, name_of(client)), host


def _walk(trust: Trust, peer: Peer, entries: list[str]) -> tuple[Client | None, int]:
    """Return the client, and how many entries from the right are believed (at least 1, for the peer's own)."""
    client = peer.client
    hops = 0
    for entry in reversed(entries[-HOPS:]):
        try:
            client, trusted = trust.meaning(entry)
        except ValueError:
            break
        hops += 1
        goes_on = hops < trust.hops if trust.hops else trusted
        if not goes_on:
            break
    return client, max(hops if trust.names_clients else trust.hops, 1)


def _prefix(value: str) -> tuple[str, bytes] | None:
    """Return a prefix of paths, decoded and as it was sent; None for text that is not one."""
    from urllib.parse import unquote

    decoded = unquote(value)
    if len(value) > _PREFIX_SIZE or _PREFIX().fullmatch(value) is None or not is_prefix(decoded):
        return None
    return decoded.rstrip("/"), value.rstrip("/").encode()


def _authority(
    host: str, port: str, own_host: bytes, scheme: str, server: ServerAddress | None
) -> tuple[bytes, ServerAddress] | None:
    """Return the Host field, and the host and port, as the client knows them; None if the proxy says nothing of them.

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
    """Return the name and the port of a Host field, None for a port that is not given; None for what is no host."""
    parts = _HOST_AND_PORT().fullmatch(host) if is_host(host) else None
    if parts is None or int(parts[2] or 0) > 65535:
        return None
    return parts[1], int(parts[2]) if parts[2] else None


def _port(text: str, scheme: str) -> int | None:
    """Return the port in X-Forwarded-Port; None for what is no port, and for the default port of the other scheme.

    A proxy behind another one that has ended TLS says 80 of itself: the client, who uses https, did not.
    """
    if not text.isascii() or not text.isdigit() or len(text) > 5:
        return None
    port = int(text)
    others = {default for name, default in _DEFAULT_PORTS.items() if name != scheme}
    return port if 0 < port <= 65535 and port not in others else None
