"""Which applications need their clients tied to workers, and what the operator is told."""

import pytest

from corehttp.worker.sticky_hint import sticky_hint


@pytest.mark.parametrize(
    ("modules", "name"),
    [
        ({"gradio", "fastapi"}, "Gradio"),
        ({"nicegui", "socketio"}, "NiceGUI"),
        ({"streamlit"}, "Streamlit"),
        ({"socketio"}, "python-socketio"),
    ],
)
def test_several_workers_of_a_framework_with_state_are_told_of(modules: set[str], name: str) -> None:
    assert sticky_hint(modules, 4) == (
        f"{name} keeps the state of its clients in one process, but requests of one client reach any of "
        "4 workers: set --sticky cookie (docs/workers.md), or --workers 1"
    )


@pytest.mark.parametrize(("modules", "workers"), [({"gradio"}, 1), ({"fastapi"}, 4), (set(), 2)])
def test_nothing_is_said_where_nothing_is_amiss(modules: set[str], workers: int) -> None:
    assert sticky_hint(modules, workers) == ""
