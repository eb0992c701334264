"""Contexts of TLS over real handshakes in memory: who is shown what, who is refused, and what a reload changes."""

import os
import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from corehttp.errors import StartupError
from corehttp.records import replaced
from corehttp.tls import openssl
from corehttp.tls.certificate import read_certificate
from corehttp.tls.contexts import Contexts
from corehttp.tls.settings import KeyPair, TlsSettings
from tests.kit.certificates import NOW, Authority, Issued

authority = Authority()
SERVER = authority.issue("example.org", "*.example.org", "127.0.0.1")


def settings(directory: Path, *issued: Issued) -> TlsSettings:
    pairs = [KeyPair(*one.write(directory, f"pair{number}")) for number, one in enumerate(issued or [SERVER])]
    return TlsSettings(tuple(pairs))


class Client:
    """A client that trusts the authority of these tests, and its side of a handshake with a server's context."""

    def __init__(self, *, certificate: tuple[str, str] | None = None) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.load_verify_locations(cadata=authority.pem.decode())
        self.context.check_hostname = False
        if certificate is not None:
            self.context.load_cert_chain(*certificate)
        self.session: ssl.SSLSession | None = None
        self.resumed: bool | None = None

    def connect(self, server: ssl.SSLContext, name: str | None = "example.org") -> ssl.SSLObject:
        """Shake hands and exchange a byte each way; return the client's side. Raises ssl.SSLError if it is refused."""
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        theirs = server.wrap_bio(to_server, to_client, server_side=True)
        ours = self.context.wrap_bio(to_client, to_server, server_hostname=name, session=self.session)
        left = [ours.do_handshake, theirs.do_handshake]
        for _ in range(10):
            for step in tuple(left):
                try:
                    step()
                    left.remove(step)
                except ssl.SSLWantReadError:
                    pass
        assert not left
        theirs.write(b"x")
        assert ours.read(1) == b"x"  # with it come the tickets of TLS 1.3, and a refusal of the certificate
        self.session, self.resumed = ours.session, ours.session_reused
        return ours


def shown(server: ssl.SSLContext, name: str | None, client: Client | None = None) -> tuple[str, ...]:
    """The names in the certificate that a client is shown."""
    der = (client or Client()).connect(server, name).getpeercert(binary_form=True)
    assert der is not None
    return read_certificate(ssl.DER_cert_to_PEM_cert(der).encode()).names


def fault(settings: TlsSettings) -> str:
    with pytest.raises(StartupError) as raised:
        Contexts(settings)
    return str(raised.value)


def test_a_client_is_shown_the_certificate_for_the_name_that_it_asks_for(tmp_path: Path) -> None:
    server = Contexts(
        settings(tmp_path, SERVER, authority.issue("www.example.org"), authority.issue("xn--bcher-kva.example"))
    ).current
    assert shown(server, "www.example.org") == ("www.example.org",)
    assert shown(server, "bücher.example") == ("xn--bcher-kva.example",)
    for name in ("api.example.org", "elsewhere.net", "127.0.0.1", None):
        assert shown(server, name)[0] == "example.org"


def test_a_client_gets_the_kind_of_key_that_it_can_use(tmp_path: Path) -> None:
    server = Contexts(settings(tmp_path, SERVER, authority.issue("example.org", is_rsa=True))).current
    for kind, size in (("ECDSA", 1000), ("RSA", 2000)):
        client = Client()
        client.context.maximum_version = ssl.TLSVersion.TLSv1_2
        client.context.set_ciphers(f"ECDHE-{kind}-AES128-GCM-SHA256")
        connection = client.connect(server)
        assert connection.cipher() == (f"ECDHE-{kind}-AES128-GCM-SHA256", "TLSv1.2", 128), size


def test_a_context_knows_the_certificate_that_it_shows_if_it_is_the_only_one(tmp_path: Path) -> None:
    www, rsa = authority.issue("www.example.org"), authority.issue("example.org", is_rsa=True)
    contexts = Contexts(settings(tmp_path, www, SERVER))
    assert contexts.current.shown == www.pem.decode()
    assert Contexts(settings(tmp_path, SERVER, rsa)).current.shown is None


def test_tls_of_before_1_2_and_weak_suites_are_refused(tmp_path: Path) -> None:
    server = Contexts(settings(tmp_path)).current
    assert server.minimum_version == ssl.TLSVersion.TLSv1_2
    assert {suite["name"] for suite in server.get_ciphers() if suite["protocol"] == "TLSv1.2"} == {
        f"ECDHE-{key}-{suite}"
        for key in ("ECDSA", "RSA")
        for suite in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    }
    client = Client()
    client.context.maximum_version = ssl.TLSVersion.TLSv1_2
    client.context.set_ciphers("AES128-SHA")
    with pytest.raises(ssl.SSLError):
        client.connect(server)


def test_only_tls_1_3_is_spoken_where_that_is_the_least(tmp_path: Path) -> None:
    server = Contexts(replaced(settings(tmp_path), min_version="1.3")).current
    assert Client().connect(server).version() == "TLSv1.3"
    client = Client()
    client.context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        client.connect(server)


def test_a_curve_outside_of_the_profile_is_refused(tmp_path: Path) -> None:
    server = Contexts(settings(tmp_path)).current
    for curve, is_taken in (("prime256v1", True), ("secp384r1", True), ("secp521r1", False)):
        client = Client()
        client.context.set_ecdh_curve(curve)
        if is_taken:
            client.connect(server)
        else:
            with pytest.raises(ssl.SSLError):
                client.connect(server)


def test_the_suites_of_tls_1_3_are_in_the_order_of_the_profile(tmp_path: Path) -> None:
    server = Contexts(settings(tmp_path)).current
    for preferred, agreed in (
        ("TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"),
        ("TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
        ("TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
    ):
        client = Client()
        assert openssl.set_suites(client.context, preferred)
        used = client.connect(server).cipher()
        assert used is not None
        assert used[0] == agreed


def test_each_connection_over_tls_1_3_gets_one_ticket_for_the_next_one(tmp_path: Path) -> None:
    server = Contexts(settings(tmp_path)).current
    client, tickets = Client(), set()
    for number in range(4):
        assert client.connect(server).version() == "TLSv1.3"
        assert client.session is not None
        assert (client.resumed, client.session.has_ticket) == (number > 0, True)
        tickets.add(client.session.id)
    assert len(tickets) == 4
    assert server.num_tickets == 1


def test_http_1_1_is_agreed_on_by_alpn(tmp_path: Path) -> None:
    client = Client()
    client.context.set_alpn_protocols(["h2", "http/1.1"])
    assert client.connect(Contexts(settings(tmp_path)).current).selected_alpn_protocol() == "http/1.1"


def mutual(directory: Path, revoked: list[Issued]) -> TlsSettings:
    (directory / "ca.pem").write_bytes(authority.pem)
    (directory / "revoked.pem").write_bytes(authority.revoke(revoked))
    return replaced(
        settings(directory),
        ca_certs=str(directory / "ca.pem"),
        cert_reqs="required",
        crl=str(directory / "revoked.pem"),
    )


def test_clients_need_a_certificate_of_the_authority_that_is_not_revoked(tmp_path: Path) -> None:
    good, revoked, foreign = authority.issue(), authority.issue(), Authority("others").issue()
    server = Contexts(mutual(tmp_path, [revoked])).current
    Client(certificate=good.write(tmp_path, "good")).connect(server)
    for certificate in (None, revoked.write(tmp_path, "revoked"), foreign.write(tmp_path, "foreign")):
        with pytest.raises(ssl.SSLError):
            Client(certificate=certificate).connect(server)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_contexts_with_one_secret_resume_each_others_sessions(tmp_path: Path, version: ssl.TLSVersion) -> None:
    these, others = Contexts(settings(tmp_path)), Contexts(settings(tmp_path))
    client = Client()
    client.context.maximum_version = version
    client.connect(these.current)
    client.connect(others.current)
    assert not client.resumed
    assert these.share_sessions(b"secret")
    assert others.share_sessions(b"secret")
    client.connect(these.current)
    client.connect(others.current)
    assert client.resumed
    others.reload()
    client.connect(others.current)
    assert client.resumed
    others.share_sessions(b"another secret")
    client.connect(others.current)
    assert not client.resumed


def test_a_client_that_is_revoked_meanwhile_resumes_nothing(tmp_path: Path) -> None:
    user = authority.issue()
    contexts = Contexts(mutual(tmp_path, []))
    contexts.share_sessions(b"secret")
    client = Client(certificate=user.write(tmp_path, "user"))
    client.connect(contexts.current)
    client.connect(contexts.current)
    assert client.resumed
    (tmp_path / "revoked.pem").write_bytes(authority.revoke([user]))
    contexts.reload()
    with pytest.raises(ssl.SSLError):
        client.connect(contexts.current)


def test_a_reload_takes_all_that_is_new(tmp_path: Path) -> None:
    contexts = Contexts(settings(tmp_path))
    assert not contexts.is_stale
    authority.issue("new.org").write(tmp_path, "pair0")
    assert contexts.is_stale
    contexts.reload()
    assert not contexts.is_stale
    assert shown(contexts.current, None) == ("new.org",)
    assert [certificate.names for _, certificate in contexts.certificates] == [("new.org",)]


def test_a_link_that_leads_elsewhere_makes_the_contexts_stale(tmp_path: Path) -> None:
    for number, name in enumerate(("old.org", "new.org")):
        authority.issue(name).write(tmp_path / f"..{number}")
    data = tmp_path / "..data"
    data.symlink_to("..0")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    contexts = Contexts(TlsSettings((KeyPair(str(tmp_path / "tls.crt"), str(tmp_path / "tls.key")),)))
    (tmp_path / "..next").symlink_to("..1")
    os.replace(tmp_path / "..next", data)
    assert contexts.is_stale
    contexts.reload()
    assert shown(contexts.current, None) == ("new.org",)


def test_a_reload_that_fails_keeps_what_is_served_and_stays_stale(tmp_path: Path) -> None:
    contexts = Contexts(settings(tmp_path))
    before = contexts.current
    (tmp_path / "pair0.crt").write_bytes(authority.issue("new.org").pem)
    with pytest.raises(StartupError, match="is not the key of the certificate"):
        contexts.reload()
    assert contexts.current is before
    assert contexts.is_stale


def test_a_file_that_is_missing_or_no_file_is_named(tmp_path: Path) -> None:
    pair = settings(tmp_path).pairs[0]
    missing = str(tmp_path / "missing")
    assert fault(TlsSettings((KeyPair(missing, None),))) == (
        f"ssl-certfile: {missing} cannot be read: No such file or directory"
    )
    assert fault(TlsSettings((KeyPair(pair.certfile, missing),))) == (
        f"ssl-keyfile: {missing} cannot be read: No such file or directory"
    )
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    for path in (str(tmp_path), pipe):
        assert fault(TlsSettings((KeyPair(path, None),))) == (
            f"ssl-certfile: {path} is no regular file of at most 64 MiB"
        )
    for option in ("ca_certs", "crl"):
        text = fault(replaced(settings(tmp_path), **{option: missing}))
        assert text == f"ssl-{option.replace('_', '-')}: {missing} cannot be read: No such file or directory"


def test_what_is_no_pem_is_named(tmp_path: Path) -> None:
    certificate, key = settings(tmp_path).pairs[0]
    assert key is not None
    assert fault(TlsSettings((KeyPair(key, certificate),))) == (
        f"ssl-certfile: {key} is no certificate in PEM form: there is no certificate in it "
        "(no line -----BEGIN CERTIFICATE-----)"
    )
    assert fault(TlsSettings((KeyPair(certificate, certificate),))) == (
        f"ssl-keyfile: {certificate} holds no private key in PEM form (no line -----BEGIN PRIVATE KEY-----)"
    )
    assert fault(TlsSettings((KeyPair(certificate, None),))) == (
        f"ssl-certfile: {certificate} holds no private key, so ssl-keyfile must name the file of its key"
    )
    assert "ssl-ca-certs: " in fault(replaced(settings(tmp_path), ca_certs=key))
    assert "no list of revoked certificates in PEM form" in fault(replaced(settings(tmp_path), crl=certificate))


def test_a_file_that_was_written_by_halves_is_named(tmp_path: Path) -> None:
    pair = settings(tmp_path).pairs[0]
    assert pair.keyfile is not None
    for path in pair:
        whole = Path(str(path)).read_bytes()
        Path(str(path)).write_bytes(whole[:100])
        assert str(path) in fault(TlsSettings((pair,)))
        Path(str(path)).write_bytes(whole)
    Path(pair.certfile).write_bytes(SERVER.pem + authority.pem[:100])
    assert fault(TlsSettings((pair,))).startswith(
        f"ssl-certfile {pair.certfile} and ssl-keyfile {pair.keyfile} cannot be loaded by OpenSSL: BAD_END_LINE"
    )


def test_a_key_of_another_certificate_is_named(tmp_path: Path) -> None:
    whole = settings(tmp_path, SERVER, authority.issue("b.org"), authority.issue("c.org", is_rsa=True))
    (certificate, _), *others = whole.pairs
    for _, other in others:
        text = f"ssl-keyfile: {other} is not the key of the certificate in {certificate}"
        assert fault(TlsSettings((KeyPair(certificate, other),))) == text
        assert fault(TlsSettings((*others, KeyPair(certificate, other)))) == text


def test_an_encrypted_key_needs_its_password(tmp_path: Path) -> None:
    pair = KeyPair(*SERVER.write(tmp_path, password="right"))
    Contexts(TlsSettings((pair,), password="right"))
    assert fault(TlsSettings((pair,))) == (
        f"ssl-keyfile: {pair.keyfile} is encrypted, so ssl-keyfile-password must be given"
    )
    for password in ("wrong", "", "x" * 2000):
        assert fault(TlsSettings((pair,), password)) == (
            f"ssl-keyfile-password: it is not the password of {pair.keyfile}"
        )


def test_an_expired_certificate_is_served_all_the_same(tmp_path: Path) -> None:
    contexts = Contexts(settings(tmp_path, authority.issue("old.org", days=-1)))
    client = Client()
    client.context.verify_mode = ssl.CERT_NONE
    assert shown(contexts.current, None, client) == ("old.org",)


def test_the_end_of_the_lists_of_revoked_certificates_is_told(tmp_path: Path) -> None:
    assert Contexts(mutual(tmp_path, [])).lists == (
        str(tmp_path / "revoked.pem"),
        [(NOW + timedelta(days=7)).timestamp()],
    )
    assert Contexts(settings(tmp_path)).lists == ("", [])


def test_unknown_cipher_suites_are_named(tmp_path: Path) -> None:
    assert fault(replaced(settings(tmp_path), ciphers="NONE-SUCH")) == (
        "ssl-ciphers: OpenSSL knows no cipher suite of 'NONE-SUCH'"
    )
