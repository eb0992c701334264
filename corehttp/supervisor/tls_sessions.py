"""The secret with which all workers encrypt the tickets of TLS sessions: made at the start, and replaced in time.

Who gets hold of a secret can decrypt what was said in resumed sessions of TLS 1.2 of its time, so it is kept in memory
alone, and not for long. A ticket of the time before costs its client a whole handshake.
"""

from collections.abc import Callable

from corehttp.ipc.tls_area import renew_secret
from corehttp.moments import NEVER

PERIOD = 12 * 3600.0  # seconds for which a secret is used; OpenSSL's tickets are good for two hours


class TlsSessions:
    """Renews the secret on a scoreboard, as long as the service speaks TLS."""

    def __init__(self, fd: int, now: float, speaks_tls: Callable[[], bool]) -> None:
        """Make the first secret. `fd` is the descriptor of the scoreboard, `now` the time (seconds, monotonic)."""
        self._fd = fd
        self._speaks_tls = speaks_tls
        self._renew_at = now + PERIOD
        renew_secret(fd)

    def due(self) -> float:
        """Return when to look again (seconds, monotonic); NEVER if nobody uses the secret."""
        return self._renew_at if self._speaks_tls() else NEVER

    def look(self, now: float) -> None:
        """Renew a secret that was used for PERIOD; `now` in seconds, monotonic."""
        if now >= self._renew_at:
            self._renew_at = now + PERIOD
            renew_secret(self._fd)
