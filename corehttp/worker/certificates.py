"""Load the certificates of a worker, renew them, and share what other workers need of them."""

import contextlib
import logging
import sys
from typing import TYPE_CHECKING

from corehttp.errors import StartupError
from corehttp.tls.contexts import Contexts
from corehttp.tls.renewal import Renewal
from corehttp.tls.settings import TlsSettings
from corehttp.worker.kept_files import CAN_KEEP, copied, copies

if TYPE_CHECKING:
    from corehttp.worker.siblings import Siblings

logger = logging.getLogger("corehttp.error")


def load(settings: TlsSettings, siblings: "Siblings | None") -> Contexts:
    """Load the certificates of a worker; raises StartupError, which names the option and the file.

    A worker that takes another one's place while its files cannot be used serves what other workers have loaded last.
    """
    try:
        return Contexts(settings)
    except StartupError as error:
        contexts = None if siblings is None else _from_copies(settings, siblings)
        if contexts is None:
            raise
        logger.warning("%s; what was served before is served on", error)
        return contexts


def _from_copies(settings: TlsSettings, siblings: "Siblings") -> Contexts | None:
    """Return contexts of what other workers have loaded last; None if there is nothing that can be used."""
    with contextlib.suppress(StartupError, OSError), copies(settings, siblings.kept_files()) as kept:
        return None if kept is None else Contexts(settings, kept)
    return None


def renewal(contexts: Contexts, siblings: "Siblings | None") -> Renewal:
    """Return what is to `look` after these contexts once a second, for a worker with these siblings, or with none.

    Only the worker of the first slot, which every service has, logs what becomes of the certificates.
    """
    if siblings is None:
        return Renewal(contexts, speaks=True)
    _ignore_garbled_names()
    speaks = siblings.slot == 0

    def keep() -> None:
        if speaks and CAN_KEEP:
            with contextlib.suppress(StartupError):  # a file has just gone, and will be missed at the next look
                siblings.keep_files(copied(contexts.settings))

    return Renewal(contexts, speaks=speaks, secret=siblings.session_secret, show=siblings.show_certificates, keep=keep)


def _ignore_garbled_names() -> None:
    """Have nothing written of clients that ask for a server name that is not ASCII, of which anybody can send many.

    Python refuses their handshakes before a context can choose a certificate, and would write a traceback for each. To
    be called only in a process of the service's own.
    """
    before = sys.unraisablehook

    def report(unraisable: "sys.UnraisableHookArgs") -> None:
        # Up to Python 3.13 the object is the name; from 3.14 on only the message tells what was done.
        of_name = type(unraisable.object) is bytes or "ssl servername callback" in (unraisable.err_msg or "")
        if not (of_name and isinstance(unraisable.exc_value, UnicodeDecodeError)):
            before(unraisable)

    sys.unraisablehook = report
