"""What is read from certificates and lists of revoked ones, whole and broken."""

import base64
from datetime import timedelta

import pytest

from corehttp.tls.certificate import next_updates, read_certificate
from tests.kit.certificates import NOW, Authority

authority = Authority()


def test_names_and_validity_are_those_of_the_certificate() -> None:
    read = read_certificate(authority.issue("Example.org", "*.example.org", "10.0.0.1", "::1", days=30).pem)
    assert read.names == ("example.org", "*.example.org", "10.0.0.1", "::1")
    assert read.not_after == (NOW + timedelta(days=30)).timestamp()
    assert read.not_before == (NOW - timedelta(days=1)).timestamp()


def test_the_certificate_itself_is_there_without_what_is_around_it() -> None:
    pem = authority.issue("a.org").pem
    assert read_certificate(b"text\r\n" + pem.replace(b"\n", b"\r\n") + authority.pem).pem == pem.decode()


def test_a_year_from_2050_on_is_read() -> None:
    days = 365 * 60
    assert read_certificate(authority.issue("a.org", days=days).pem).not_after == (NOW + timedelta(days)).timestamp()


def test_the_common_name_counts_only_without_alternative_names() -> None:
    assert read_certificate(authority.issue(common_name="Old.example").pem).names == ("old.example",)
    assert read_certificate(authority.issue("new.example", common_name="old.example").pem).names == ("new.example",)


def test_keys_of_one_kind_are_told_from_those_of_another() -> None:
    first, second, other = authority.issue("a"), authority.issue("b"), authority.issue("a", is_rsa=True)
    kinds = [read_certificate(issued.pem).key_kind for issued in (first, second, other)]
    assert kinds[0] == kinds[1] != kinds[2]


def test_the_first_certificate_of_a_chain_is_read() -> None:
    issued = authority.issue("first.org")
    assert read_certificate(b"comment\n" + issued.key() + issued.pem + authority.pem).names == ("first.org",)


@pytest.mark.parametrize(
    "content",
    [b"", b"no PEM", authority.issue("a").key(), authority.revoke()],
    ids=["nothing", "text", "a key", "a list of revoked ones"],
)
def test_a_file_without_a_certificate_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="there is no certificate in it"):
        read_certificate(content)


def test_text_that_is_not_base64_is_refused() -> None:
    with pytest.raises(ValueError, match="no PEM"):
        read_certificate(b"-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n")


def test_a_certificate_that_is_cut_or_changed_anywhere_is_read_or_refused() -> None:
    whole = base64.b64decode(b"".join(authority.issue("a.org", "10.0.0.1").pem.split(b"\n")[1:-2]))
    broken = [whole[:end] for end in range(len(whole))]
    broken += [whole[:at] + bytes([whole[at] ^ change]) + whole[at + 1 :] for at in range(300) for change in (1, 255)]
    refused = 0
    said = set()
    for der in broken:
        text = base64.b64encode(der)
        try:
            read_certificate(b"-----BEGIN CERTIFICATE-----\n" + text + b"\n-----END CERTIFICATE-----\n")
        except ValueError as error:
            refused += 1
            said.add(str(error))
    assert refused >= len(whole)
    assert said == {"its certificate is malformed"}


def test_a_malformed_list_is_not_called_a_certificate() -> None:
    with pytest.raises(ValueError, match=r"^its list of revoked certificates is malformed$"):
        next_updates(b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n")


def test_the_next_update_of_each_list_of_revoked_certificates_is_read() -> None:
    lists = authority.revoke(days=7) + Authority("others").revoke([authority.issue("a")], days=-1)
    assert next_updates(lists) == [(NOW + timedelta(days)).timestamp() for days in (7, -1)]


def test_a_file_without_a_list_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no list of revoked certificates in it"):
        next_updates(authority.pem)
