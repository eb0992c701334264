"""What the options of TLS become."""

from corehttp.config import Config
from corehttp.tls.settings import KeyPair, TlsSettings, in_directory, tls_settings
from corehttp.tls_options import tls_doubts


def test_without_a_certificate_a_service_speaks_cleartext() -> None:
    assert tls_settings(Config()) is None


def test_a_certificate_whose_file_holds_its_key_is_a_pair_by_itself() -> None:
    assert tls_settings(Config(ssl_certfile=("a.pem", "b.pem"))) == TlsSettings(
        (KeyPair("a.pem", None), KeyPair("b.pem", None))
    )


def test_certificates_and_keys_are_paired_in_the_order_in_which_they_are_given() -> None:
    settings = tls_settings(Config(ssl_certfile=("a.pem", "b.pem"), ssl_keyfile=("a.key", "b.key")))
    assert settings is not None
    assert settings.pairs == (KeyPair("a.pem", "a.key"), KeyPair("b.pem", "b.key"))


def test_every_option_of_tls_is_in_the_settings() -> None:
    config = Config(
        ssl_certfile=("a.pem",),
        ssl_keyfile_password="sesame",
        ssl_ca_certs="ca.pem",
        ssl_cert_reqs="optional",
        ssl_ciphers="ECDHE",
        ssl_min_version="1.3",
        ssl_crl="crl.pem",
        ssl_handshake_timeout=2.0,
    )
    pairs = (KeyPair("a.pem", None),)
    assert tls_settings(config) == TlsSettings(pairs, "sesame", "ca.pem", "optional", "ECDHE", "1.3", "crl.pem", 2.0)


def test_relative_paths_begin_in_the_directory_of_the_service() -> None:
    settings = TlsSettings((KeyPair("a.pem", None), KeyPair("/b.pem", "b.key")), ca_certs="ca.pem", crl="/crl.pem")
    assert in_directory(settings, "/srv") == TlsSettings(
        (KeyPair("/srv/a.pem", None), KeyPair("/b.pem", "/srv/b.key")), ca_certs="/srv/ca.pem", crl="/crl.pem"
    )


def test_authorities_that_no_client_is_asked_about_are_doubted() -> None:
    (doubt,) = tls_doubts(Config(ssl_certfile=("a.pem",), ssl_ca_certs="ca.pem"))
    assert doubt.startswith("ssl-ca-certs: no client is asked for a certificate; add --ssl-cert-reqs ")
    asked = Config(ssl_certfile=("a.pem",), ssl_ca_certs="ca.pem", ssl_cert_reqs="optional")
    assert tls_doubts(asked) == tls_doubts(Config()) == []
