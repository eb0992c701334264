"""The console script `corehttp`, in a module whose name no other distribution has.

Another project on the package index is named `corehttp` and has the same import name. Where Python finds that one
first, nothing of this project can be imported as `corehttp`, and only a module beside the package can say so.
"""

import sys


def main() -> None:
    """Run the command, or end with what to do (exit code 3) where another `corehttp` hides this one."""
    try:
        from corehttp.cli import main as command
    except ModuleNotFoundError as error:
        if error.name not in {"corehttp", "corehttp.cli"}:
            raise
        import corehttp

        where = corehttp.__file__ or list(corehttp.__path__)
        sys.stderr.write(
            f"Error: the `corehttp` that Python imports, {where}, is another project's and hides this server; use an "
            "environment without it: pip uninstall corehttp, then install corehttp-server with --force-reinstall\n"
        )
        raise SystemExit(3) from None
    command()
