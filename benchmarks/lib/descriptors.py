"""File descriptors: every open connection takes one, in this process and in the server."""

import resource
import sys

_OTHERS = 256  # libraries, logs, event loops


def allow(connections: int) -> None:
    """Raises the limit for this process and, by inheritance, for the servers; exits if the system forbids it."""
    wanted = connections + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        sys.exit(f"{wanted} file descriptors are needed, the limit is {hard}: use fewer connections")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
