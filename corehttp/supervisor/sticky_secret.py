"""The secret of `--sticky` over an upgrade: with the same one keys stay where they are, and cookies stay valid."""

import os
import re

from corehttp.ipc.scoreboard import Scoreboard
from corehttp.ipc.sticky_area import SECRET_SIZE, read_secret, write_secret

VARIABLE = "COREHTTP_STICKY_SECRET"  # in the environment of a supervisor that takes the place of another one


class StickySecret:
    """The secret of a service. It is that of the supervisor before this one if that one has left it, else a new one."""

    def __init__(self, board: Scoreboard) -> None:
        self._fd = board.fd
        left = os.environ.pop(VARIABLE, "")
        if len(left) == 2 * SECRET_SIZE and re.fullmatch("[0-9a-f]*", left):
            write_secret(self._fd, bytes.fromhex(left))

    def bequeath(self) -> tuple[dict[str, str], list[int]]:
        """Return what a successor needs to have the same secret: a variable of its environment, and no descriptors."""
        return {VARIABLE: read_secret(self._fd).hex()}, []
