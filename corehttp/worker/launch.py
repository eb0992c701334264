"""The program of a process that the supervisor starts: `python -P launch.py MODULE DESCRIPTOR TITLE`.

It imports the package that it belongs to, wherever Python's own import path leads. With `python -m` the current
directory would come first in that path, and its files be taken for modules of the standard library; with a path in
PYTHONPATH, every program that the application starts would inherit it.
"""

import importlib
import os
import sys
from importlib.util import module_from_spec, spec_from_file_location


def main() -> int:
    """Import this package by its place, then run `main` of the module; returns the exit code."""
    module, descriptor = sys.argv[1:3]
    directory = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    spec = spec_from_file_location(
        "corehttp", os.path.join(directory, "__init__.py"), submodule_search_locations=[directory]
    )
    assert spec is not None
    assert spec.loader is not None
    package = sys.modules["corehttp"] = module_from_spec(spec)
    spec.loader.exec_module(package)
    code: int = importlib.import_module(module).main(int(descriptor))
    return code


if __name__ == "__main__":
    sys.exit(main())
