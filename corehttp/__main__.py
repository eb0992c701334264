"""The command as a module: `python -m corehttp`."""

import os
import sys

if __name__ == "__main__":
    # Python has put the current directory first in the import path, where its files hide modules of the standard
    # library. It is removed here; the application's directory is added when the application is loaded.
    if not sys.flags.safe_path and os.path.isdir(sys.path[0]) and os.path.samefile(sys.path[0], os.curdir):
        del sys.path[0]

    from corehttp.cli import main

    main()
