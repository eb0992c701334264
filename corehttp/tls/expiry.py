"""What is to be said of certificates that end soon, and of those that clients refuse by now. Pure."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from corehttp.records import record
from corehttp.text import counted, printable
from corehttp.tls.certificate import Certificate
from corehttp.tls.settings import KeyPair

WARN_SECONDS = 14 * 86400  # how long before its end a certificate is warned of, once a day


@record
class Remark:
    """What is to be said to the operator."""

    text: str
    is_fault: bool  # whether clients are refused by now


def remarks(certificates: Iterable[tuple[KeyPair, Certificate]], now: float) -> Iterator[Remark]:
    """Yield what is to be said of certificates at `now` (seconds since 1970); nothing of one that is valid for long."""
    for pair, certificate in certificates:
        which = f"the certificate for {names(certificate)} in {pair.certfile}"
        left = certificate.not_after - now
        if left <= 0:
            yield Remark(f"{which} has expired on {date(certificate.not_after)}: clients refuse it", is_fault=True)
        elif certificate.not_before > now:
            yield Remark(f"{which} is valid from {date(certificate.not_before)} on, and no earlier", is_fault=True)
        elif left < WARN_SECONDS:
            days = counted(int(left // 86400), "day")
            yield Remark(f"{which} expires in {days}, on {date(certificate.not_after)}: renew it", is_fault=False)


def list_remarks(path: str, ends: Iterable[float], now: float) -> Iterator[Remark]:
    """Yield what is to be said of the lists of revoked certificates in a file at `now` (seconds since 1970)."""
    ended = [end for end in ends if end <= now]
    if ended:
        yield Remark(
            f"the list of revoked certificates in {path} ended on {date(min(ended))}: until it is renewed, clients "
            "with certificates of its authority are refused",
            is_fault=True,
        )


def names(certificate: Certificate) -> str:
    """Return the names of a certificate for a log line: the first three of them."""
    more = len(certificate.names) - 3
    shown = printable(", ".join(certificate.names[:3])) or "no name"
    return f"{shown} and {more} more" if more > 0 else shown


def date(at: float) -> str:
    """Return a time (seconds since 1970) to the minute, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")
