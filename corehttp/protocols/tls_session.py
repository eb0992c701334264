"""One connection's side of TLS: what lies beneath it, and what applications are told of it (ASGI TLS extension 0.2)."""

import asyncio
import contextlib
import os
import ssl
import threading
from collections.abc import Iterable
from typing import Any, Self

from corehttp.asgi import State
from corehttp.protocols.entrance import Entrance
from corehttp.protocols.scope import REDIRECTED, Extensions, Offers

TlsScope = dict[str, Any]  # the extension `tls` of a scope

# The numbers that TLS has for its versions (RFC 8446, 4.1.2 and 4.2.1).
_VERSIONS = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
# The short names of attributes in a distinguished name (RFC 4514, 3), by what OpenSSL calls them.
_SHORT_NAMES = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
_ESCAPED = frozenset('"+,;<>\\')  # what is escaped anywhere in a value (RFC 4514, 2.4)
_suites: dict[str, int] = {}  # the numbers of cipher suites by OpenSSL's names for them, as far as they were used
_SUITE = 0xFFFF  # the bits of a cipher's number in OpenSSL that TLS has for it (SSL_CIPHER_get_protocol_id(3))

_made = threading.local()  # in each thread `latest`, the session that was made last


class TlsSession(ssl.SSLObject):
    """The TLS of one connection, as contexts make it whose `sslobject_class` this is.

    A transport over TLS has it as its `ssl_object`. A client whose handshake fails is told why, which both event loops
    forget: they close the connection with the alert (RFC 8446, 6) unsent.
    """

    # The transport that the encrypted bytes go through: what it has not sent, only it knows.
    beneath: asyncio.Transport | None = None
    _outgoing: ssl.MemoryBIO

    @classmethod
    def _create(cls, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **named: Any) -> Self:
        """Make a session as SSLContext.wrap_bio() asks for it, and keep where its bytes go."""
        session: Self = super()._create(incoming, outgoing, *args, **named)  # type: ignore[misc]
        session._outgoing = outgoing
        # What an SSLObject does for each call is one frame around that of its own object in C. Without these frames a
        # request takes 4 % less CPU time (`benchmarks.peers --workload tls`: 20 us, not 21).
        inner = session._sslobj  # type: ignore[attr-defined]
        session.read, session.write, session.pending = inner.read, inner.write, inner.pending  # type: ignore[method-assign]
        _made.latest = session
        return session

    def do_handshake(self) -> None:
        """Go on with the handshake; if it fails, send the alert that says why, and raise SSLError."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError:
            self._send_alert()
            raise

    def _send_alert(self) -> None:
        """Send what TLS has to say at last; nothing if the client has not taken what comes before it."""
        if self.beneath is None or self.beneath.get_write_buffer_size():
            return
        sock = self.beneath.get_extra_info("socket")
        if sock is not None and (number := sock.fileno()) >= 0 and (alert := self._outgoing.read()):
            with contextlib.suppress(OSError):  # the client has left, or takes nothing
                os.write(number, alert)


def bind_latest(transport: asyncio.Transport) -> None:
    """Tell the session that was made last in this thread that its encrypted bytes go through this transport.

    An event loop makes the session of a transport by itself, in a call that `loop.start_tls` schedules, and tells of it
    only after the handshake. So this is to be called in the call that is scheduled next.
    """
    session: TlsSession | None = getattr(_made, "latest", None)
    _made.latest = None
    if session is not None:
        session.beneath = transport


class ConnectionOffers:
    """What the scopes of all requests on one connection have in common; see `scope.Offers`."""

    __slots__ = ("extensions", "state")

    def __init__(self, state: State, extensions: Extensions) -> None:
        self.state = state
        self.extensions = extensions


def beneath(transport: asyncio.Transport) -> asyncio.Transport:
    """Return the transport whose bytes go to the socket: beneath TLS another one than that of the protocol."""
    session = transport.get_extra_info("ssl_object")
    found = session.beneath if isinstance(session, TlsSession) else None
    return transport if found is None else found


def offers_of(worker: Offers, entrance: Entrance, transport: asyncio.Transport) -> Offers:
    """Return what the scopes on a connection have: what those of the worker have, and what follows from itself."""
    extensions = worker.extensions.copy()
    session = transport.get_extra_info("ssl_object")
    if session is not None:
        extensions["tls"] = describe(session)
    if entrance.redirects:
        extensions[REDIRECTED] = {}
    return ConnectionOffers(worker.state, extensions)


def describe(session: ssl.SSLObject) -> TlsScope:
    """Return what a scope tells of a connection over TLS, after its handshake."""
    leaf = session.getpeercert(binary_form=True)
    return {
        "server_cert": getattr(session.context, "shown", None),
        "client_cert_chain": () if leaf is None else tuple(map(ssl.DER_cert_to_PEM_cert, _chain(session, leaf))),
        "client_cert_name": None if leaf is None else distinguished_name(session.getpeercert() or {}),
        # A client whose certificate is refused does not finish its handshake.
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(session.version() or ""),
        "cipher_suite": _suite(session),
    }


def _chain(session: ssl.SSLObject, leaf: bytes) -> Iterable[bytes]:
    """Return the client's certificate, and those of the authorities above it where Python tells them (3.13)."""
    verified = getattr(session, "get_verified_chain", None)
    return verified() if verified is not None else (leaf,)


def _suite(session: ssl.SSLObject) -> int | None:
    """Return the number that TLS has for the cipher suite of a connection."""
    used = session.cipher()
    name = "" if used is None else used[0]
    if name not in _suites:  # to ask takes 87 us, a ninth of a handshake
        _suites.update({suite["name"]: int(suite["id"]) & _SUITE for suite in session.context.get_ciphers()})
    return _suites.get(name)


def distinguished_name(certificate: dict[str, Any]) -> str:
    """Return the subject of a certificate, as `SSLObject.getpeercert` tells it, in the form of RFC 4514.

    An attribute that has no short name there is written with OpenSSL's name for it.
    """
    parts = (
        "+".join(f"{_SHORT_NAMES.get(name, name)}={_escaped(value)}" for name, value in part)
        for part in reversed(certificate.get("subject", ()))
    )
    return ",".join(parts)


def _escaped(value: str) -> str:
    """Return the value of an attribute with what means something else escaped (RFC 4514, 2.4)."""
    text = "".join(f"\\{letter}" if letter in _ESCAPED else letter for letter in value).replace("\0", "\\00")
    if text[:1] in ("#", " "):
        text = "\\" + text
    if len(value) > 1 and text[-1] == " ":
        text = text[:-1] + "\\ "
    return text
