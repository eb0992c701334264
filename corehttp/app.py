"""From "module:attribute" to an ASGI callable.

Of objects of the application only the type is asked, never `isinstance` or an attribute that nobody named: a lazy
object answers such a question by connecting to something, or raises.
"""

import functools
import importlib
import inspect
import os
import signal
import sys
from types import CoroutineType, FunctionType, MethodType, ModuleType
from typing import cast

from corehttp.asgi import ASGIApp, Unchecked
from corehttp.errors import InterruptedStart, StartupError
from corehttp.text import shown
from corehttp.tracebacks import application_traceback

_FUNCTIONS = (FunctionType, MethodType, functools.partial)


def load(target: str | ASGIApp, *, factory: bool = False, app_dir: str = "") -> ASGIApp:
    """The application that `target` names, or is.

    "package.module:name.attribute" imports the module and follows the attributes; "package.module" means its `app`.
    With `factory` the result of calling it is the application. Raises StartupError, with the traceback as its detail
    where the application's own code is at fault.
    """
    if issubclass(type(target), str):
        name = cast(str, target)
        found = _follow(name, app_dir)
    else:
        found = target
        name = repr(target) if type(target) in _FUNCTIONS else object.__repr__(target)
    if factory:
        found = _make(found, name)
    if type(found) is CoroutineType:
        found.close()
        raise StartupError(f"the factory {name} is async: make the application at once, and await in its lifespan")
    if not callable(found):
        raise StartupError(f"{name} is not an ASGI application: {type(found).__name__} objects cannot be called")
    if issubclass(type(found), type):
        raise StartupError(f"{name} is a class; name an instance, or a function that makes one with --factory")
    return _as_asgi3(found, name)


def _follow(target: str, app_dir: str) -> Unchecked:
    module_name, _, attributes = target.partition(":")
    attributes = attributes or "app"
    parts = (*module_name.split("."), *attributes.split("."))
    if not all(part.isidentifier() for part in parts) or module_name.endswith(".py"):
        meant = f"; did you mean {guess}?" if (guess := _meant(target)) else ""
        raise StartupError(f"the application {target!r} must be written as MODULE:ATTRIBUTE, as in main:app{meant}")
    directory = os.path.abspath(app_dir or os.getcwd())
    sys.path[:] = [directory, *(entry for entry in sys.path if entry != directory)]
    found = _import(module_name, directory)
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            raise StartupError(
                f"the module {module_name!r} has no attribute {attributes!r}{_candidates(found)}"
            ) from None
        except BaseException as error:  # a module's __getattr__, a property
            raise failed_start(f"{attribute!r} of {target} cannot be had", error) from error
    return found


def _meant(target: str) -> str:
    """What was probably meant by a path, a file's name or a call; empty if nobody can know."""
    module_name, _, attributes = target.replace("\\", "/").partition(":")
    directory, slash, name = module_name.rpartition("/")
    name = name.removesuffix(".py")
    attributes, call, _ = attributes.partition("(")
    if not all(part.isidentifier() for part in (*name.split("."), *(attributes or "app").split("."))):
        return ""
    where = "" if directory in ("", ".") and not (slash and not directory) else f"--app-dir {directory or '/'} "
    return f"{where}{name}:{attributes or 'app'}{' --factory' if call else ''}"


def _import(module_name: str, directory: str) -> Unchecked:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Only the module that was asked for: one that it imports itself is the application's own fault.
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
                "start in its directory or name it with --app-dir"
            ) from None
        text = f"the module {module_name!r} cannot be imported: {error}"
        raise StartupError(text, application_traceback(error)) from error
    except BaseException as error:
        raise failed_start(f"the module {module_name!r} cannot be imported", error) from error


def _make(factory: Unchecked, name: str) -> Unchecked:
    if not callable(factory):
        raise StartupError(f"{name} is not a factory: {type(factory).__name__} objects cannot be called")
    try:
        return factory()
    except BaseException as error:
        raise failed_start(f"the factory {name} failed", error) from error


def failed_start(what: str, error: BaseException) -> StartupError:
    """The failed start to raise where the application's own code has raised `error`, be it SystemExit.

    Ctrl-C is the operator's wish: it is raised again. It is known by its type, or by the default handler of SIGINT,
    without which a KeyboardInterrupt can only be the application's.
    """
    ctrl_c = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if isinstance(error, InterruptedStart) or (isinstance(error, KeyboardInterrupt) and ctrl_c):
        raise error
    return StartupError(f"{what}: {shown(error)}", application_traceback(error))


def _as_asgi3(app: Unchecked, name: str) -> ASGIApp:
    """Refuse what would fail at the first request: a plain function, a WSGI application, a factory."""
    parameters = _parameters(app)
    if parameters is None:
        return cast(ASGIApp, app)
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if takes_any or len(needed) == 3:
        return cast(ASGIApp, app)
    hint = {
        0: "it looks like a factory: use --factory",
        1: "it looks like an ASGI 2 application, which is not served",
        2: "it looks like a WSGI application, which is not served",
    }.get(len(needed), "an ASGI application takes scope, receive and send")
    raise StartupError(f"{name} is not an ASGI application: {hint}")


def _parameters(app: Unchecked) -> list[inspect.Parameter] | None:
    """What a call of the application takes; None if only a call can tell, as with one that is written in C."""
    kind = type(app)
    try:
        if kind in _FUNCTIONS:
            return list(inspect.signature(app).parameters.values())
        call = inspect.getattr_static(kind, "__call__", None)
        return list(inspect.signature(call).parameters.values())[1:] if type(call) is FunctionType else None
    except Exception:
        return None


def _candidates(module: Unchecked) -> str:
    if not issubclass(type(module), ModuleType):
        return ""
    found = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value) and not issubclass(type(value), type)
    ]
    return f"; it has {', '.join(found[:5])}" if found else ""
