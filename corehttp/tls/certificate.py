"""What a certificate says of itself, read from a PEM file (RFC 7468, RFC 5280): its names, validity and key. Pure.

Python's `ssl` has no public way to read the certificate that a server shows: `SSLContext.get_ca_certs` leaves out what
is no authority, and `SSLSocket.getpeercert` needs a handshake that has verified it. So the few fields are read here,
from DER (X.690), alike with every version of Python and OpenSSL. OpenSSL alone decides whether a certificate is used.
"""

import base64
import binascii
import calendar
import ipaddress
import re
from collections.abc import Iterator

from corehttp.records import record, replaced

_CERTIFICATE = re.compile(rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----(.*?)-----END ", re.DOTALL)
_CRL = re.compile(rb"-----BEGIN X509 CRL-----(.*?)-----END ", re.DOTALL)
# Tags of DER (X.690, 8.1.2).
_INTEGER, _OID, _UTC_TIME, _GENERALIZED_TIME, _SEQUENCE, _SET = 0x02, 0x06, 0x17, 0x18, 0x30, 0x31
_TIMES = (_UTC_TIME, _GENERALIZED_TIME)
_VERSION, _EXTENSIONS = 0xA0, 0xA3  # the first and the last of a certificate's fields that are marked by number
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87  # of a GeneralName (RFC 5280, 4.2.1.6)
_COMMON_NAME, _ALTERNATIVE_NAMES = b"\x55\x04\x03", b"\x55\x1d\x11"  # the object identifiers 2.5.4.3 and 2.5.29.17

Element = tuple[int, bytes]  # a tag and its content


@record
class Certificate:
    """What a certificate says of itself. Times are seconds since 1970."""

    names: tuple[str, ...]  # host names in lower case, as A-labels, some with a wildcard; IP addresses as text
    not_before: float
    not_after: float
    key_kind: bytes  # the object identifier of the algorithm of its key: a context holds one certificate of each
    pem: str = ""  # the certificate itself in PEM form, in lines of 64 letters, without what is around it in the file


def read_certificate(pem: bytes) -> Certificate:
    """Return the first certificate of a PEM file, which is the server's own.

    Raises ValueError, which says what is wrong, if there is none that can be read.
    """
    found = _CERTIFICATE.search(pem)
    if found is None:
        raise ValueError("there is no certificate in it (no line -----BEGIN CERTIFICATE-----)")
    der = _decoded(found[1])
    try:
        return replaced(_read(der), pem=_pem(found[1]))
    except (ValueError, IndexError) as error:
        raise ValueError("its certificate is malformed") from error


def _read(certificate: bytes) -> Certificate:
    """Return what a certificate in DER says. Raises ValueError or IndexError for anything else."""
    fields = _elements(_sequence(_sequence(certificate)))
    if fields[0][0] == _VERSION:
        del fields[0]
    if len(fields) < 6:
        raise ValueError("a certificate has six fields or more")
    # In this order: serial number, algorithm of the signature, issuer, validity, subject, public key; then what not
    # every certificate has (RFC 5280, 4.1).
    validity, subject, key = (content for _, content in fields[3:6])
    begin, end = (_time(element) for element in _elements(validity)[:2])
    names = [name for tag, content in fields[6:] if tag == _EXTENSIONS for name in _alternative_names(content)]
    kind = _elements(_sequence(key))[0][1]
    return Certificate(tuple(dict.fromkeys(names or _common_names(subject))), begin, end, kind)


def next_updates(pem: bytes) -> list[float]:
    """Return when the lists of revoked certificates in a PEM file are to be followed by others (seconds since 1970).

    After that OpenSSL refuses every certificate of their authorities. Raises ValueError, which says what is wrong, if
    there is no such list that can be read.
    """
    lists = list(map(_decoded, _CRL.findall(pem)))
    if not lists:
        raise ValueError("there is no list of revoked certificates in it (no line -----BEGIN X509 CRL-----)")
    try:
        times = list(map(_updates, lists))
    except ValueError as error:
        raise ValueError("its list of revoked certificates is malformed") from error
    return [both[1] for both in times if len(both) > 1]


def _updates(revoked: bytes) -> list[float]:
    """Return the times of this update and, in almost every list, of the next one (RFC 5280, 5.1). Raises ValueError."""
    return [_time(element) for element in _elements(_sequence(_sequence(revoked))) if element[0] in _TIMES]


def _decoded(text: bytes) -> bytes:
    """Return the bytes of a PEM block. Raises ValueError."""
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)
    except binascii.Error as error:
        raise ValueError(f"it is no PEM: {error}") from error


def _pem(text: bytes) -> str:
    """Return a certificate in PEM form, from the text between its first and its last line."""
    letters = b"".join(text.split()).decode()
    lines = [letters[at : at + 64] for at in range(0, len(letters), 64)]
    return "\n".join(["-----BEGIN CERTIFICATE-----", *lines, "-----END CERTIFICATE-----", ""])


def _alternative_names(extensions: bytes) -> Iterator[str]:
    """Yield the host names and IP addresses among the subject alternative names of a certificate."""
    for _, extension in _elements(_sequence(extensions)):
        (_, identifier), *_, (_, value) = _elements(extension)
        if identifier == _ALTERNATIVE_NAMES:
            for tag, name in _elements(_sequence(value)):
                if tag == _DNS_NAME and name.isascii():
                    yield name.decode().lower()
                elif tag == _IP_ADDRESS and len(name) in (4, 16):
                    yield str(ipaddress.ip_address(name))


def _common_names(subject: bytes) -> Iterator[str]:
    """Yield the common names of a subject: old certificates have no alternative names (RFC 6125, 6.4.4)."""
    for _, names in _elements(subject):
        for _, attribute in _elements(names):
            (_, identifier), (_, name), *_ = _elements(attribute)
            if identifier == _COMMON_NAME and name.isascii():
                yield name.decode().lower()


def _time(element: Element) -> float:
    """Return a time in seconds since 1970 (RFC 5280, 4.1.2.5). Raises ValueError."""
    tag, content = element
    text = content.decode("ascii", "replace")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    if tag not in _TIMES or not re.fullmatch(r"\d{14}Z", text, re.ASCII):
        raise ValueError("no valid time")
    year, month, day, *clock = int(text[:4]), *(int(text[at : at + 2]) for at in range(4, 14, 2))
    return float(calendar.timegm((year, month, day, *clock)))


def _sequence(data: bytes) -> bytes:
    """Return the content of the sequence that `data` begins with. Raises ValueError."""
    tag, content, _ = _element(data, 0)
    if tag != _SEQUENCE:
        raise ValueError("no sequence")
    return content


def _elements(data: bytes) -> list[Element]:
    """Return the elements that `data` consists of. Raises ValueError."""
    found, at = list[Element](), 0
    while at < len(data):
        tag, content, at = _element(data, at)
        found.append((tag, content))
    return found


def _element(data: bytes, at: int) -> tuple[int, bytes, int]:
    """Return tag and content of the element at an offset, and the offset behind it (X.690, 8.1). Raises ValueError."""
    if at + 2 > len(data):
        raise ValueError("an element is cut off")
    tag, length, at = data[at], data[at + 1], at + 2
    if length >= 0x80:
        size = length - 0x80
        length, at = int.from_bytes(data[at : at + size], "big"), at + size
    if at + length > len(data):
        raise ValueError("an element is cut off")
    return tag, data[at : at + length], at + length
