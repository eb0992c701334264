"""Has a worker serve new certificates without a restart, and says when they end or cannot be used."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from corehttp.errors import StartupError
from corehttp.tls.certificate import Certificate
from corehttp.tls.expiry import Remark, date, list_remarks, names, remarks
from corehttp.tls.settings import KeyPair

logger = logging.getLogger("corehttp.error")

# Seconds for which files that cannot be used are tried again before anything is said of it: who renews certificates may
# write a certificate and its key one after the other.
PATIENCE = 10.0
DAY = 86400.0  # seconds between two times that is said which certificates expire soon


class Served(Protocol):
    """What `Renewal` needs of `contexts.Contexts`, which says what each member does."""

    @property
    def certificates(self) -> Sequence[tuple[KeyPair, Certificate]]:
        """What is served."""

    @property
    def lists(self) -> tuple[str, Sequence[float]]:
        """The file of the lists of revoked certificates, and when each of them is to be followed by another one."""

    @property
    def is_stale(self) -> bool:
        """Whether a file has changed since it was loaded."""

    def reload(self) -> None:
        """Load all files anew; raises StartupError."""

    def share_sessions(self, secret: bytes) -> bool:
        """Resume the sessions of all contexts with the same secret."""


class Renewal:
    """Looks after the contexts of one worker. Its `look` is to be called once a second.

    All workers of a service look at the same files, so only the one that `speaks` writes what it sees into the log.
    `secret` returns what the workers share for their sessions, empty if there is nothing. `show` is told when the
    certificates end that are served (seconds since 1970). `keep` is called when all files were loaded, so that they can
    be copied. `wall` returns the time in seconds since 1970.
    """

    def __init__(
        self,
        served: Served,
        *,
        speaks: bool,
        secret: Callable[[], bytes] = bytes,
        show: Callable[[list[float]], object] = lambda ends: None,
        keep: Callable[[], object] = lambda: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Take over contexts that have just been loaded."""
        self._served = served
        self._speaks = speaks
        self._read_secret, self._secret = secret, b""
        self._show = show
        self._keep = keep
        self._wall = wall
        self._next_remarks = 0.0  # when to say next which certificates end (seconds, as those that `look` is told)
        self._failing_since: float | None = None
        self._said = ""  # the fault that was logged last, as long as it is there
        self._tell()

    def look(self, now: float) -> None:
        """Load files that have changed, and take the workers' new secret; `now` in seconds, monotonic.

        It takes a call of stat(2) for each file, and one of pread(2).
        """
        self._take_secret()
        if self._served.is_stale:
            self._reload(now)
        if now >= self._next_remarks:
            self._next_remarks = now + DAY
            self._remark()

    def _take_secret(self) -> None:
        secret = self._read_secret()
        if secret and secret != self._secret:
            self._secret = secret
            if not self._served.share_sessions(secret):
                logger.debug("each worker resumes only the TLS sessions that it has begun itself")

    def _reload(self, now: float) -> None:
        """Load all files anew; say what is wrong once it has been for PATIENCE."""
        try:
            self._served.reload()
        except StartupError as error:
            since = self._failing_since = now if self._failing_since is None else self._failing_since
            if now - since >= PATIENCE and str(error) != self._said:
                self._said = str(error)
                self._log(logging.ERROR, f"new certificates cannot be used, those of before are served on: {error}")
            return
        self._failing_since, self._said = None, ""
        self._next_remarks = now
        self._tell()
        what = "; ".join(f"{names(one)} until {date(one.not_after)}" for _, one in self._served.certificates)
        self._log(logging.INFO, f"certificates are loaded anew: {what}")

    def _tell(self) -> None:
        """Show what is served by now, and have the files copied unless they have changed meanwhile."""
        self._show([certificate.not_after for _, certificate in self._served.certificates])
        if not self._served.is_stale:
            self._keep()

    def _remark(self) -> None:
        """Say which certificates end soon, and which clients refuse."""
        now = self._wall()
        found: list[Remark] = [*remarks(self._served.certificates, now), *list_remarks(*self._served.lists, now)]
        for remark in found:
            self._log(logging.ERROR if remark.is_fault else logging.WARNING, remark.text)

    def _log(self, level: int, text: str) -> None:
        logger.log(level if self._speaks else logging.DEBUG, "%s", text)
