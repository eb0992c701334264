"""fastpysgi with a number of workers, which its own command does not take.

python -m benchmarks.lib.fastpysgi_server MODULE:APPLICATION PORT WORKERS
"""

import sys

import fastpysgi


def main() -> None:
    """Serve until a signal comes."""
    target, port, workers = sys.argv[1:]
    app = fastpysgi.import_from_string(target)
    fastpysgi.run(app, "127.0.0.1", int(port), fastpysgi.LL_ERROR, int(workers))


if __name__ == "__main__":
    main()
