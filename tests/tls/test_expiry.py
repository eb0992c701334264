"""What is said of certificates that end soon, and of those that clients refuse."""

import pytest

from corehttp.tls.certificate import Certificate
from corehttp.tls.expiry import Remark, date, list_remarks, names, remarks
from corehttp.tls.settings import KeyPair

DAY = 86400
END = 1_800_000_000.0  # 2027-01-15 08:00 UTC
PAIR = KeyPair("/etc/tls.crt", "/etc/tls.key")
WHICH = "the certificate for a.org in /etc/tls.crt"


@pytest.mark.parametrize(
    ("left", "remark"),
    [
        (15 * DAY, None),
        (14 * DAY, None),
        (14 * DAY - 1, Remark(f"{WHICH} expires in 13 days, on 2027-01-15 08:00 UTC: renew it", is_fault=False)),
        (DAY, Remark(f"{WHICH} expires in 1 day, on 2027-01-15 08:00 UTC: renew it", is_fault=False)),
        (1, Remark(f"{WHICH} expires in 0 days, on 2027-01-15 08:00 UTC: renew it", is_fault=False)),
        (0, Remark(f"{WHICH} has expired on 2027-01-15 08:00 UTC: clients refuse it", is_fault=True)),
        (91 * DAY, Remark(f"{WHICH} is valid from 2026-10-17 08:00 UTC on, and no earlier", is_fault=True)),
    ],
)
def test_a_certificate_is_warned_of_below_two_weeks_and_a_fault_outside_of_its_time(
    left: float, remark: Remark | None
) -> None:
    certificate = Certificate(("a.org",), END - 90 * DAY, END, b"")
    assert list(remarks([(PAIR, certificate)], END - left)) == ([] if remark is None else [remark])


def test_a_list_of_revoked_certificates_that_has_ended_is_a_fault() -> None:
    assert not list(list_remarks("/crl", [END], END - 1))
    assert list(list_remarks("/crl", [END + 5, END], END)) == [
        Remark(
            "the list of revoked certificates in /crl ended on 2027-01-15 08:00 UTC: until it is renewed, clients with "
            "certificates of its authority are refused",
            is_fault=True,
        )
    ]


def test_a_log_line_has_three_names_and_says_how_many_more_there_are() -> None:
    def shown(*given: str) -> str:
        return names(Certificate(given, 0, 0, b""))

    assert shown() == "no name"
    assert shown("a", "b", "c") == "a, b, c"
    assert shown("a", "b", "c", "d", "e") == "a, b, c and 2 more"
    assert "\n" not in shown("a\nb")


def test_the_latest_time_of_a_certificate_can_be_shown() -> None:
    assert date(253402300799) == "9999-12-31 23:59 UTC"
