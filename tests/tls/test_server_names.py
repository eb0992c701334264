"""Which certificates a client is shown for the server name that it asks for."""

import pytest

from corehttp.tls.certificate import Certificate
from corehttp.tls.server_names import ServerNames


def certificate(*names: str, kind: bytes = b"ec") -> Certificate:
    return Certificate(names, 0.0, 1.0, kind)


SOME = ServerNames(
    [
        certificate("default.org"),
        certificate("*.example.org", "example.org"),
        certificate("www.example.org"),
        certificate("xn--bcher-kva.example", "192.0.2.1", "2001:db8::1"),
    ]
)


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("default.org", 0),
        ("example.org", 1),
        ("EXAMPLE.ORG", 1),
        ("example.org.", 1),
        ("api.example.org", 1),
        ("www.example.org", 2),  # exactly, before the wildcard that comes earlier
        ("WWW.Example.org", 2),
        ("a.b.example.org", 0),  # a wildcard stands for one label
        ("*.example.org", 1),
        ("xn--bcher-kva.example", 3),
        ("192.0.2.1", 3),
        ("2001:db8::1", 3),
        ("unknown.net", 0),
        ("org", 0),
        (".", 0),
        (".org", 0),
        ("", 0),
        (None, 0),
    ],
)
def test_a_name_is_exact_or_falls_under_a_wildcard_or_gets_the_first_certificate(asked: str | None, shown: int) -> None:
    assert SOME.choose(asked) == (shown,)


def test_certificates_with_different_keys_for_one_name_are_shown_together() -> None:
    names = ServerNames([certificate("a.org", "b.org"), certificate("a.org", kind=b"rsa"), certificate("c.org")])
    assert names.choose("a.org") == names.choose(None) == (0, 1)
    assert names.choose("b.org") == (0,)
    assert names.choices == {(0,), (0, 1), (2,)}


def test_the_first_of_two_certificates_for_one_name_wins() -> None:
    names = ServerNames([certificate("a.org"), certificate("a.org", "b.org"), certificate("a.org")])
    assert names.choose("a.org") == (0,)
    assert names.choose("b.org") == (1,)
    assert names.never_shown() == [2]


def test_certificates_without_names_are_for_clients_that_fit_no_other() -> None:
    names = ServerNames([certificate(), certificate("a.org")])
    assert names.choose("b.org") == names.default == (0,)
    assert names.never_shown() == []
