"""File descriptors: every open connection takes one, in this process and in the server."""

import resource
import sys

_OTHERS = 256  # descriptors for libraries, logs and event loops


def allow(connections: int) -> None:
    """Raise the limit of this process, which servers inherit, to this many connections; exits if that is forbidden."""
    wanted = connections + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        sys.exit(f"{wanted} file descriptors are needed, the limit is {hard}: use fewer connections")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
