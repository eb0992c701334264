"""Settings of a context that Python's `ssl` has no call for, made in the OpenSSL library that it is linked to.

Each function returns whether the setting is in force, and leaves all as it was where it cannot be sure of that: with
another interpreter than CPython, with a release of it whose objects nobody has looked at, or with an OpenSSL whose
functions cannot be called. A service does without these settings, too.
"""

import ctypes
import functools
import ssl
import sys

# The releases of CPython in which the first field of a context's object, behind the head that every object has, is the
# pointer to OpenSSL's SSL_CTX (PySSLContext in Modules/_ssl.h). It has been since Python 3.2.
_KNOWN_RELEASES = ((3, 11), (3, 15))
# Commands of SSL_CTX_ctrl (openssl/ssl.h, openssl/tls1.h), which has kept their numbers since OpenSSL 1.0.
_GET_TICKET_KEYS, _SET_TICKET_KEYS, _SET_GROUPS = 58, 59, 92
_ALL_OPTIONS = (1 << 64) - 1  # the bits of a context's options in OpenSSL; Python may give them with a sign
TICKET_KEYS = 80  # bytes: a name of 16, then keys of 32 for HMAC-SHA-256 and for AES-256 (OpenSSL 1.1.1 and later)


def set_groups(context: ssl.SSLContext, names: str) -> bool:
    """Offer these groups for the exchange of keys and no others, separated by colons, the best first.

    Returns False, and changes nothing, if OpenSSL does not know one of them.
    """
    text = names.encode()
    return _control(context, _SET_GROUPS, 0, text) == 1


def set_suites(context: ssl.SSLContext, names: str) -> bool:
    """Offer these cipher suites of TLS 1.3 and no others, separated by colons, the best first.

    One that OpenSSL does not know is passed over. Returns False, and changes nothing, if they cannot be set.
    """
    library, field = _library(), _pointer(context)
    if library is None or field is None:
        return False
    is_set: bool = library.SSL_CTX_set_ciphersuites(field, names.encode()) == 1
    library.ERR_clear_error()
    return is_set


def set_ticket_keys(context: ssl.SSLContext, keys: bytes) -> bool:
    """Encrypt the tickets of sessions with `keys` of TICKET_KEYS bytes (RFC 5077, 4).

    Every context with the same keys resumes what another one has begun. Returns False if the keys are not in force.
    """
    if _control(context, _SET_TICKET_KEYS, 0, None) != len(keys):  # without keys it says how many bytes they have
        return False
    read = ctypes.create_string_buffer(len(keys))
    is_set = _control(context, _SET_TICKET_KEYS, len(keys), keys) == 1
    return is_set and _control(context, _GET_TICKET_KEYS, len(keys), read) == 1 and read.raw == keys


def _control(context: ssl.SSLContext, command: int, number: int, data: object) -> int:
    """Return what SSL_CTX_ctrl returns for this context; 0, as for a failure, where it cannot be called."""
    library, field = _library(), _pointer(context)
    if library is None or field is None:
        return 0
    answer: int = library.SSL_CTX_ctrl(field, command, number, data)
    library.ERR_clear_error()  # a failure that was left would be taken for that of a later call
    return answer


def _pointer(context: ssl.SSLContext) -> ctypes.c_void_p | None:
    """Return the pointer to OpenSSL's context; None if its functions cannot be called, or it is not found."""
    library = _library()
    if library is None:
        return None
    field = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    # What both say of the same context tells that the field is the pointer.
    is_known = field.value and library.SSL_CTX_get_options(field) == int(context.options) & _ALL_OPTIONS
    return field if is_known else None


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Return the OpenSSL that Python's `ssl` uses; None if its functions cannot be called."""
    least, beyond = _KNOWN_RELEASES
    if sys.implementation.name != "cpython" or not least <= sys.version_info[:2] < beyond:
        return None
    try:
        library = ctypes.CDLL(getattr(sys.modules["_ssl"], "__file__", None))
        library.SSL_CTX_get_options.argtypes = [ctypes.c_void_p]
        library.SSL_CTX_get_options.restype = ctypes.c_uint64
        library.SSL_CTX_ctrl.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
        library.SSL_CTX_ctrl.restype = ctypes.c_long
        library.SSL_CTX_set_ciphersuites.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        library.SSL_CTX_set_ciphersuites.restype = ctypes.c_int
        library.ERR_clear_error.argtypes = []
        library.ERR_clear_error.restype = None
    except (OSError, AttributeError):
        return None
    return library
