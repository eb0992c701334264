"""Asks a service how it stands, again and again: `python -m benchmarks.lib.status_calls PID RATE SECONDS`.

Prints how many answers came. A call that is due while the one before still runs is made right after it.
"""

import os
import sys
import time

from corehttp.control import client
from corehttp.control.services import Selector, choose


def main(pid: int, rate: float, seconds: float) -> int:
    path = choose(Selector(pid=pid), os.environ, os.getuid())
    began = time.monotonic()
    calls = 0
    while (elapsed := time.monotonic() - began) < seconds:
        early = calls / rate - elapsed  # seconds
        if early > 0:
            time.sleep(early)
        client.ask(path, "status")
        calls += 1
    print(calls)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
