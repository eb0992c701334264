"""What applications are told of a connection over TLS."""

from typing import Any

import pytest

from corehttp.protocols.tls_session import distinguished_name


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ((), ""),
        (((("commonName", "shop"),),), "CN=shop"),
        (
            ((("countryName", "DE"),), (("organizationName", "Shop, Inc."),), (("commonName", "shop"),)),
            "CN=shop,O=Shop\\, Inc.,C=DE",
        ),
        (((("commonName", "a"), ("userId", "b+c")),), "CN=a+UID=b\\+c"),
        (((("commonName", ' #"<\\>; '),),), 'CN=\\ #\\"\\<\\\\\\>\\;\\ '),
        (((("commonName", "#1"),),), "CN=\\#1"),
        (((("commonName", "a\0b"),),), "CN=a\\00b"),
        (((("emailAddress", "a@b"),),), "emailAddress=a@b"),
    ],
)
def test_the_name_of_a_client_is_written_as_rfc_4514_says(subject: Any, name: str) -> None:
    assert distinguished_name({"subject": subject}) == name
