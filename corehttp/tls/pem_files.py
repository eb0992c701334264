"""Files in PEM form: reading and loading them, with errors that name the option, the file and what would be right."""

import os
import ssl
import stat

from corehttp.errors import StartupError
from corehttp.tls.certificate import Certificate, next_updates, read_certificate
from corehttp.tls.settings import KeyPair
from corehttp.windows import user

LARGEST = 64 << 20  # bytes of the largest file that is read
# Which file a path leads to, and its state: device, inode, time of the last change (ns) and size; None: there is none.
Stamp = tuple[int, int, int, int] | None


def stamp(path: str) -> Stamp:
    """Return which file a path leads to, and its state; another stamp means that the content may be another one."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def read(option: str, path: str) -> bytes:
    """Return the content of the file that an option names. Raises StartupError."""
    whole = os.path.abspath(path)
    try:
        status = os.stat(path)  # first, because to open a pipe would wait for its writer
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            raise StartupError(f"{option}: {whole} is no regular file of at most {LARGEST >> 20} MiB")
        with open(path, "rb") as file:
            return file.read()
    except PermissionError as error:
        raise StartupError(f"{option}: {whole} cannot be read by user id {user()}: permission denied") from error
    except OSError as error:
        raise StartupError(f"{option}: {whole} cannot be read: {error.strerror}") from error


def check_pair(pair: KeyPair, password: str | None) -> Certificate:
    """Return what a certificate says that OpenSSL takes together with its key; raises StartupError."""
    try:
        certificate = read_certificate(read("ssl-certfile", pair.certfile))
    except ValueError as error:
        raise StartupError(f"ssl-certfile: {pair.certfile} is no certificate in PEM form: {error}") from error
    key = pair.keyfile or pair.certfile
    if b"PRIVATE KEY-----" not in read("ssl-keyfile", key):
        if pair.keyfile is None:
            raise StartupError(
                f"ssl-certfile: {key} holds no private key, so ssl-keyfile must name the file of its key"
            )
        raise StartupError(f"ssl-keyfile: {key} holds no private key in PEM form (no line -----BEGIN PRIVATE KEY-----)")
    # In a context of its own: in one that has the key of another pair already, a key that does not fit may pass.
    load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pair, password)
    return certificate


def load_pair(context: ssl.SSLContext, pair: KeyPair, password: str | None) -> None:
    """Load a certificate and its key; raises StartupError. Nobody is asked for a password at the terminal."""
    asked = []

    def answer() -> str:
        asked.append(True)
        return password or ""  # an empty password is a wrong one

    key = pair.keyfile or pair.certfile
    try:
        context.load_cert_chain(pair.certfile, pair.keyfile, answer)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; a password that is too long is a ValueError
        reason = getattr(error, "reason", None)
        if reason in ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED", "KEY_TYPE_MISMATCH"):
            raise StartupError(f"ssl-keyfile: {key} is not the key of the certificate in {pair.certfile}") from error
        if asked and password is None:
            raise StartupError(f"ssl-keyfile: {key} is encrypted, so ssl-keyfile-password must be given") from error
        if asked:
            raise StartupError(f"ssl-keyfile-password: it is not the password of {key}") from error
        raise StartupError(
            f"ssl-certfile {pair.certfile} and ssl-keyfile {key} cannot be loaded by OpenSSL: {_words(error)}; "
            "both must be whole files in PEM form"
        ) from error


def load_authorities(context: ssl.SSLContext, option: str, path: str) -> None:
    """Load certificates of authorities, or their lists of revoked ones; raises StartupError."""
    read(option, path)
    try:
        context.load_verify_locations(path)
    except OSError as error:
        what = "certificates" if option == "ssl-ca-certs" else "lists of revoked certificates"
        raise StartupError(f"{option}: {path} does not hold {what} in PEM form: {_words(error)}") from error


def check_list(path: str) -> list[float]:
    """Return when the lists of revoked certificates in a file are to be followed by others; raises StartupError."""
    try:
        return next_updates(read("ssl-crl", path))
    except ValueError as error:
        raise StartupError(f"ssl-crl: {path} holds no list of revoked certificates in PEM form: {error}") from error


def _words(error: Exception) -> str:
    """Return what OpenSSL says of a fault, without the line of its caller."""
    return str(getattr(error, "reason", None) or error.args[-1]).partition(" (_ssl")[0]
