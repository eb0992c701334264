"""Work for a CPU, in a module of its own, so that helper processes import no more: `examples/cpu_bound.py` uses it."""

import signal


def count_primes(below: int) -> int:
    """Return how many primes are less than `below`; `below` = 1,000,000 takes about a second of CPU."""
    found: list[int] = []
    for number in range(2, below):
        for prime in found:
            if prime * prime > number:
                found.append(number)
                break
            if number % prime == 0:
                break
        else:
            found.append(number)
    return len(found)


def count_primes_in_helper(below: int) -> int:
    """The same in a helper process, which leaves Ctrl-C to the server.

    The terminal sends Ctrl-C to all processes, and the server still answers the requests that it has begun.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return count_primes(below)
