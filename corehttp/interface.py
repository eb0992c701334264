"""Which interface an application has, and how one of an older interface is served as ASGI 3."""

import functools
import inspect
from types import FunctionType, MethodType
from typing import cast

from corehttp.asgi import ASGIApp, Receive, Scope, Send, Unchecked
from corehttp.errors import StartupError

FUNCTIONS = (FunctionType, MethodType, functools.partial)


def as_asgi3(app: Unchecked, name: str, interface: str, threads: int) -> ASGIApp:
    """Return an application that is called as ASGI 3 has it, for `app`, which is called `name` in messages.

    `interface` is what `app` has: "asgi3", "asgi2" or "wsgi"; "auto" judges by what its call takes. A WSGI application
    runs in so many `threads`. Raises StartupError for what cannot be served.
    """
    if not callable(app):
        raise StartupError(f"{name} is not an ASGI application: {type(app).__name__} objects cannot be called")
    if issubclass(type(app), type) and interface != "asgi2":
        raise StartupError(f"{name} is a class; name an instance, or a function that makes one with --factory")
    kind = _judge(app, name, interface) if interface in ("auto", "asgi3") else interface
    if kind == "wsgi":
        return _serve_wsgi(app, name, threads)
    return _serve_asgi2(app) if kind == "asgi2" else cast(ASGIApp, app)


def _judge(app: Unchecked, name: str, interface: str) -> str:
    """Return the interface that an application has by what its call takes; raises StartupError if it is not allowed."""
    parameters = _parameters(app)
    if parameters is None:
        return "asgi3"
    needed = [p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(needed) == 3 or any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return "asgi3"
    # What is called in the older interfaces is no coroutine: one that is has lost or forgotten a parameter.
    is_async = inspect.iscoroutinefunction(
        app if type(app) in FUNCTIONS else inspect.getattr_static(type(app), "__call__", None)
    )
    older = None if is_async else {1: "asgi2", 2: "wsgi"}.get(len(needed))
    if older is not None and interface == "auto":
        return older
    hint = {
        None: "an ASGI application takes scope, receive and send",
        "asgi2": "it looks like an ASGI 2 application: use --interface asgi2",
        "wsgi": "it looks like a WSGI application: use --interface wsgi",
    }[older]
    if not needed:
        hint = "it looks like a factory: use --factory"
    raise StartupError(f"{name} is not an ASGI application: {hint}")


def _serve_asgi2(app: Unchecked) -> ASGIApp:
    """Return an ASGI 3 application for one of ASGI 2, which is called with the scope alone at first."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope)(receive, send)

    return served


def _serve_wsgi(app: Unchecked, name: str, threads: int) -> ASGIApp:
    try:
        from corehttp.wsgi import WSGIApplication
    except ImportError as error:
        raise StartupError(
            f"{name} is a WSGI application, which needs the package a2wsgi: pip install 'corehttp-server[wsgi]'"
        ) from error
    return cast(ASGIApp, WSGIApplication(app, threads))


def _parameters(app: Unchecked) -> list[inspect.Parameter] | None:
    """Return the parameters of a call of the application; None if they are not known, as those of code in C."""
    kind = type(app)
    try:
        if kind in FUNCTIONS:
            return list(inspect.signature(app).parameters.values())
        call = inspect.getattr_static(kind, "__call__", None)
        return list(inspect.signature(call).parameters.values())[1:] if type(call) is FunctionType else None
    except Exception:
        return None
