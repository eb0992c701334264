"""The warning about peers that send what only a trusted proxy may, so that an operator who has a proxy can name it."""

import logging

from corehttp.moments import NEVER
from corehttp.protocols.clock import Clock
from corehttp.protocols.peer import Peer

logger = logging.getLogger("corehttp.error")

SILENCE = 3600.0  # seconds between two warnings


class DistrustLog:
    """Logs such a peer, once in SILENCE seconds at most, since anybody can send such fields."""

    __slots__ = ("_clock", "_silent_until")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._silent_until = -NEVER  # nothing is logged until then (seconds, by the clock)

    def note(self, peer: Peer, names: list[bytes]) -> None:
        """Log that `peer`, which is not trusted, sends the fields `names`, unless a warning was logged lately."""
        now = self._clock.now
        if now < self._silent_until:
            return
        if peer.client is not None:
            who, entry = peer.name, peer.client[0].partition("%")[0]
        elif peer.is_local:
            who, entry = "a peer on the unix socket", "unix"
        else:
            return  # the peer has left before its address could be read
        self._silent_until = now + SILENCE
        fields = b", ".join(sorted(names)).decode("latin-1")
        logger.warning(
            "%s is no trusted proxy, so what it says in %.100s is removed; if it is yours, add %s to "
            "--forwarded-allow-ips (said once an hour)",
            who,
            fields,
            entry,
        )
