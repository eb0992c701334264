"""The contexts of TLS: certificates, keys and rules, loaded from the files that the options name."""

import hashlib
import ssl

from corehttp.errors import StartupError
from corehttp.tls import openssl
from corehttp.tls.certificate import Certificate
from corehttp.tls.pem_files import Stamp, check_list, check_pair, load_authorities, load_pair, read, stamp
from corehttp.tls.server_names import Choice, ServerNames
from corehttp.tls.settings import KeyPair, TlsSettings, paths

# Mozilla's intermediate profile 5.7 (wiki.mozilla.org/Security/Server_Side_TLS) without the suites that need parameters
# for Diffie-Hellman; all clients of that profile have one of these.
CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)
# Those of TLS 1.3 in the order of the same profile. OpenSSL's own begins with AES-256, whose suite hashes with SHA-384:
# with SHA-256 a whole handshake takes 20 us less, of 289, on a CPU with instructions for it (two `ssl.MemoryBIO`).
SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
# The groups of the same profile, before them the hybrid one that OpenSSL 3.5 and later know.
GROUPS = ("X25519MLKEM768:X25519:P-256:P-384", "X25519:P-256:P-384")
# The tickets of a whole handshake over TLS 1.3. A client uses one once (RFC 8446, C.4) and is given another when it
# resumes a connection with it, so one is enough. A second one takes another 17 us of those 289.
TICKETS = 1
# SSL_OP_PRIORITIZE_CHACHA (openssl/ssl.h): a client that prefers ChaCha20, as one without AES in hardware, gets it.
_PRIORITIZE_CHACHA = 1 << 21

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_CERT_REQS = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


class ServerContext(ssl.SSLContext):
    """A context of a server, which knows what it shows."""

    # The certificate that clients are shown, in PEM form; None if which one it is depends on what the client can use.
    shown: str | None = None


class Contexts:
    """What connections over TLS are wrapped with.

    `current` is the context of the next accepted connection, which shows each client the certificate for the server
    name that it asks for. Connections that were accepted before a `reload` keep what they have.
    """

    def __init__(self, settings: TlsSettings, kept: TlsSettings | None = None) -> None:
        """Load all files that `settings` names; raises StartupError, which names the option and the file.

        With `kept` the files are loaded that this names in their place: copies from before, which need to be there no
        longer than this call lasts. Then the contexts are stale from the beginning.
        """
        self.settings = settings
        self._secret = b""
        self._stamps = self._stamp() if kept is None else []
        self._loaded = _Loaded(kept or settings)

    @property
    def current(self) -> ServerContext:
        """The context that the next accepted connection is wrapped with."""
        return self._loaded.default

    @property
    def certificates(self) -> list[tuple[KeyPair, Certificate]]:
        """What is served: each pair of the settings, and what its certificate says, in their order."""
        return list(zip(self.settings.pairs, self._loaded.certificates, strict=True))

    @property
    def lists(self) -> tuple[str, list[float]]:
        """The file of the lists of revoked certificates that are in force, and when others are to follow them.

        Times are seconds since 1970. The path is empty, and no time given, if the settings name no such file.
        """
        return self.settings.crl or "", self._loaded.list_ends

    @property
    def is_stale(self) -> bool:
        """Whether a file is another one than that which was loaded, or has changed since; symbolic links are followed.

        What is at fault in a file that `reload` could not use may have been elsewhere, so it stays stale.
        """
        return self._stamp() != self._stamps

    def reload(self) -> None:
        """Load all files anew. Raises StartupError, and keeps what it has, if one of them cannot be used.

        A file that is changed while it is loaded leaves the contexts stale.
        """
        stamps = self._stamp()
        loaded = _Loaded(self.settings)
        loaded.share_sessions(self._secret)
        self._loaded, self._stamps = loaded, stamps

    def share_sessions(self, secret: bytes) -> bool:
        """Resume the sessions of all contexts with the same secret, certificate authorities and revoked certificates.

        Returns whether that is possible; without it, each context resumes only what it has begun itself.
        """
        self._secret = secret
        return self._loaded.share_sessions(secret)

    def _stamp(self) -> list[Stamp]:
        return [stamp(path) for path in paths(self.settings)]


class _Loaded:
    """The content of all files at one time."""

    def __init__(self, settings: TlsSettings) -> None:
        """Load all files; raises StartupError."""
        self.certificates = [check_pair(pair, settings.password) for pair in settings.pairs]
        self.list_ends = [] if settings.crl is None else check_list(settings.crl)
        names = ServerNames(self.certificates)
        self._contexts = {choice: self._context(settings, choice) for choice in names.choices}
        self._names = names
        self.default = self._contexts[names.default]
        if len(self._contexts) > 1:
            self.default.sni_callback = self._choose
        self._rules = _rules(settings)

    def share_sessions(self, secret: bytes) -> bool:
        """Encrypt the tickets of sessions with keys that follow from `secret`; see `Contexts.share_sessions`.

        Who may connect goes into the keys, because a client that resumes a session shows no certificate again.
        """
        if not secret:
            return False
        keys = hashlib.shake_256(secret + self._rules).digest(openssl.TICKET_KEYS)
        return all(openssl.set_ticket_keys(context, keys) for context in self._contexts.values())

    def _choose(self, connection: ssl.SSLObject, server_name: str | None, context: ssl.SSLContext) -> None:
        """Show a client the certificate for the server name that it asks for (SNI: RFC 6066, 3)."""
        chosen = self._contexts[self._names.choose(server_name)]
        if chosen is not context:
            connection.context = chosen

    def _context(self, settings: TlsSettings, choice: Choice) -> ServerContext:
        """Return a context with these certificates, by their numbers; raises StartupError."""
        context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
        context.shown = self.certificates[choice[0]].pem if len(choice) == 1 else None
        context.minimum_version = _VERSIONS[settings.min_version]
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.options |= _PRIORITIZE_CHACHA
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.set_ciphers(settings.ciphers or CIPHERS)
        except ssl.SSLError as error:
            raise StartupError(f"ssl-ciphers: OpenSSL knows no cipher suite of {settings.ciphers!r}") from error
        any(openssl.set_groups(context, groups) for groups in GROUPS)
        openssl.set_suites(context, SUITES)
        context.num_tickets = TICKETS
        for number in choice:
            load_pair(context, settings.pairs[number], settings.password)
        if settings.ca_certs is not None:
            load_authorities(context, "ssl-ca-certs", settings.ca_certs)
        if settings.crl is not None:
            load_authorities(context, "ssl-crl", settings.crl)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        context.verify_mode = _CERT_REQS[settings.cert_reqs]
        return context


def _rules(settings: TlsSettings) -> bytes:
    """Return a digest of what decides which clients may connect; raises StartupError."""
    digest = hashlib.sha256(settings.cert_reqs.encode())
    for option, path in (("ssl-ca-certs", settings.ca_certs), ("ssl-crl", settings.crl)):
        content = b"" if path is None else read(option, path)
        digest.update(hashlib.sha256(content).digest())
    return digest.digest()
