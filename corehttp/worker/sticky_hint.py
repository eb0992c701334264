"""Tells the operator of an application that needs its clients tied to workers, where they are not. Pure."""

from collections.abc import Container

# Frameworks that keep a client's state in their process, by the module that shows that one of them is served. Those
# that use another one come before it.
_STATEFUL = {"gradio": "Gradio", "nicegui": "NiceGUI", "streamlit": "Streamlit", "socketio": "python-socketio"}


def sticky_hint(modules: Container[str], workers: int) -> str:
    """Return a line for the log where `workers` workers serve an application that has imported these modules.

    Returns empty text where nothing is amiss.
    """
    found = next((name for module, name in _STATEFUL.items() if module in modules), "")
    if workers < 2 or not found:
        return ""
    return (
        f"{found} keeps the state of its clients in one process, but requests of one client reach any of "
        f"{workers} workers: set --sticky cookie (docs/workers.md), or --workers 1"
    )
