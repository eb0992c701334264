"""Load the application that "module:attribute" names.

An object of the application is judged by its type alone. `isinstance`, or an attribute that the target does not name,
would ask the object itself, and a lazy one answers by connecting to something, or raises.
"""

import importlib
import os
import signal
import sys
from types import CoroutineType, ModuleType
from typing import cast

from corehttp.asgi import ASGIApp, Unchecked
from corehttp.control.verb_names import meant_verb
from corehttp.errors import InterruptedStart, StartupError
from corehttp.interface import FUNCTIONS, as_asgi3
from corehttp.text import shown
from corehttp.tracebacks import application_traceback


def load(
    target: str | ASGIApp,
    *,
    factory: bool = False,
    app_dir: str = "",
    interface: str = "auto",
    threads: int = 1,
) -> ASGIApp:
    """Return the application that `target` names, or is, as one of ASGI 3 (see `interface.as_asgi3`).

    "package.module:name.attribute" imports the module and follows the attributes; "package.module" means its `app`.
    With `factory`, what the target names is called, and returns the application. `app_dir` comes first in the import
    path; empty means the current directory. Raises StartupError, whose detail is the traceback where the application's
    own code is at fault.
    """
    if issubclass(type(target), str):
        name = cast(str, target)
        found = _follow(name, app_dir)
    else:
        found = target
        name = repr(target) if type(target) in FUNCTIONS else object.__repr__(target)
    if factory:
        found = _make(found, name)
    if type(found) is CoroutineType:
        found.close()
        raise StartupError(f"the factory {name} is async: make the application at once, and await in its lifespan")
    return as_asgi3(found, name, interface, threads)


def put_first(app_dir: str) -> str:
    """Put a directory, the current one if it is empty, first in the import path, and return its path in full."""
    directory = os.path.abspath(app_dir or os.getcwd())
    sys.path[:] = [directory, *(entry for entry in sys.path if entry != directory)]
    return directory


def _follow(target: str, app_dir: str) -> Unchecked:
    """Import the module of `target` and return what its attributes lead to; raises StartupError."""
    module_name, _, attributes = target.partition(":")
    attributes = attributes or "app"
    parts = (*module_name.split("."), *attributes.split("."))
    if not all(part.isidentifier() for part in parts) or module_name.endswith(".py"):
        meant = f"; did you mean {guess}?" if (guess := _meant(target)) else ""
        raise StartupError(f"the application {target!r} must be written as MODULE:ATTRIBUTE, as in main:app{meant}")
    found = _import(module_name, put_first(app_dir), may_be_verb=":" not in target)
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            meant = _candidates(found, attribute)
            if ":" not in target and not _is_in(sys.path[0], found):  # as `stat` of the standard library
                meant = f"; {verb}" if (verb := meant_verb(target)) else meant
            raise StartupError(f"the module {module_name!r} has no attribute {attributes!r}{meant}") from None
        except BaseException as error:  # a module's __getattr__, a property
            raise failed_start(f"{attribute!r} of {target} cannot be had", error) from error
    return found


def _meant(target: str) -> str:
    """Return the target that was probably meant by a path, a file's name or a call; empty if that cannot be told."""
    path = target.replace("\\", "/")
    drive = path[:2] if path[1:3] == ":/" else ""  # of Windows, as in C:/site/main.py:app
    module_name, _, attributes = path.removeprefix(drive).partition(":")
    directory, slash, name = module_name.rpartition("/")
    if slash and not directory:
        directory = "/"
    name = name.removesuffix(".py")
    attributes, call, _ = attributes.partition("(")
    attributes = attributes or "app"
    if not all(part.isidentifier() for part in (*name.split("."), *attributes.split("."))):
        return ""
    packages = directory.removeprefix("./").split("/")
    if not drive and all(part.isidentifier() for part in packages) and _are_packages(packages):
        directory, name = "", ".".join([*packages, name])
    where = "" if directory in ("", ".") else f"--app-dir {drive}{directory} "
    return f"{where}{name}:{attributes}{' --factory' if call else ''}"


def _are_packages(names: list[str]) -> bool:
    """Whether these directories, each in the one before and the first in the current one, are packages."""
    return all(os.path.isfile(os.path.join(*names[:depth], "__init__.py")) for depth in range(1, len(names) + 1))


def _import(module_name: str, directory: str, *, may_be_verb: bool) -> Unchecked:
    """Import and return a module of the application in `directory`, or an installed one; raises StartupError.

    `may_be_verb` says whether the name may be a mistyped verb of the command, so that the error asks for that, too.
    """
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # The target is wrong only if it is this module, or a package of it, that is missing. Another module is missing
        # because the application imports it.
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            parent, _, last = error.name.rpartition(".")
            if last in vars(sys.modules.get(parent, object)):
                raise StartupError(f"there is no module {error.name!r}; did you mean {parent}:{last}?") from None
            if not os.path.isdir(directory):
                raise StartupError(
                    f"there is no directory {directory}; --app-dir must name the application's"
                ) from None
            raise StartupError(
                f"there is no module {error.name!r} in {directory} or among the installed packages; "
                f"{_similar(error.name, directory, may_be_verb)}start in its directory or name it with --app-dir"
            ) from None
        text = f"the module {module_name!r} cannot be imported: {error}"
        raise StartupError(text, application_traceback(error)) from error
    except BaseException as error:
        raise failed_start(f"the module {module_name!r} cannot be imported", error) from error


def _similar(name: str, directory: str, may_be_verb: bool) -> str:
    """Return questions, whether a verb or a module with a similar name is meant, and "Or"; empty if there is none."""
    verb = meant_verb(name) if may_be_verb else ""
    module = _similar_module(name, directory)
    if verb and module:
        return f"{verb} Or the module {module}? Or "
    question = verb or (f"did you mean {module}?" if module else "")
    return f"{question} Or " if question else ""


def _similar_module(name: str, directory: str) -> str:
    """Return the module with the most similar name; empty if there is none.

    Beside a missing one of a package are the others of that package, beside any other those in `directory`.
    """
    import difflib  # here, as pkgutil, since only a mistake needs them
    import pkgutil

    parent, dot, last = name.rpartition(".")
    places = getattr(sys.modules.get(parent), "__path__", []) if dot else [directory]
    found = difflib.get_close_matches(last, [module.name for module in pkgutil.iter_modules(places)], 1)
    return f"{parent}{dot}{found[0]}" if found else ""


def _is_in(directory: str, module: Unchecked) -> bool:
    """Whether a module, or the package that it is, lies in a directory."""
    file = getattr(module, "__file__", None)
    return type(file) is str and os.path.abspath(file).startswith(os.path.join(directory, ""))


def _make(factory: Unchecked, name: str) -> Unchecked:
    """Call the factory that is called `name` in messages, and return what it makes; raises StartupError."""
    if not callable(factory):
        raise StartupError(f"{name} is not a factory: {type(factory).__name__} objects cannot be called")
    try:
        return factory()
    except BaseException as error:
        raise failed_start(f"the factory {name} failed", error) from error


def failed_start(what: str, error: BaseException) -> StartupError:
    """Return the failed start to raise where the application's own code has raised `error`, SystemExit included.

    If the operator has pressed Ctrl-C, `error` is raised again instead. It comes from Ctrl-C if it is an
    InterruptedStart, or a KeyboardInterrupt while SIGINT has its default handler; any other KeyboardInterrupt is the
    application's.
    """
    ctrl_c = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if isinstance(error, InterruptedStart) or (isinstance(error, KeyboardInterrupt) and ctrl_c):
        raise error
    return StartupError(f"{what}: {shown(error)}", application_traceback(error))


def _candidates(module: Unchecked, missing: str) -> str:
    """Return the end of an error text: what in a module may be the application; empty if there is nothing.

    A name that is like the missing one is asked for.
    """
    if not issubclass(type(module), ModuleType):
        return ""
    found = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value) and not issubclass(type(value), type)
    ]
    import difflib  # here, since only a mistake needs it

    if similar := difflib.get_close_matches(missing, found, 1):
        return f"; did you mean {similar[0]!r}?"
    return f"; it has {', '.join(found[:5])}" if found else ""
