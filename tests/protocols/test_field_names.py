"""Which names of fields are a proxy's, and that the names which clients invent do not fill the memory."""

import pytest

from corehttp.protocols import field_names
from corehttp.protocols.field_names import forwarding, is_forwarding, lower_name


@pytest.mark.parametrize(
    "name",
    [
        *(b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-prefix"),
        *(b"x_forwarded_for", b"x-forwarded_for", b"x_forwarded-for", b"x_forwarded_client_cert", b"x-forwarded-user"),
        *(b"x-forwarded", b"forwarded", b"x-real-ip", b"x_real_ip", b"x-real_ip"),
    ],
)
def test_what_is_a_proxys_to_say(name: bytes) -> None:
    assert is_forwarding(name)
    assert lower_name(name.upper()) == name
    assert forwarding({b"host": b"a", name: b""}) == [name]
    assert name not in field_names.ordinary
    assert name.upper() not in field_names.ordinary


@pytest.mark.parametrize("name", [b"host", b"via", b"x-forward", b"forwarded-for", b"x-real", b"a_b", b"x-request-id"])
def test_what_anybody_may_say(name: bytes) -> None:
    assert not is_forwarding(name)
    assert lower_name(name.title()) == name
    assert field_names.ordinary[name] == field_names.ordinary[name.title()] == name
    assert forwarding({name: b""}) == []


def test_the_names_that_clients_invent_do_not_fill_the_memory() -> None:
    for number in range(5000):
        assert lower_name(b"N%d" % number) == b"n%d" % number
    assert lower_name(b"X" * 1000) == b"x" * 1000
    assert len(field_names.ordinary) <= field_names._REMEMBERED + 1
    assert b"x" * 1000 not in field_names.ordinary
