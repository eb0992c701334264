"""A worker process, `python -m corehttp.worker DESCRIPTOR`: the descriptor is that of its end of a channel."""

import sys

from corehttp.worker.process import main

if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
