"""A NiceGUI page mounted on FastAPI: its button talks to the server over a WebSocket."""

from fastapi import FastAPI
from nicegui import ui

app = FastAPI()


def page() -> None:
    label = ui.label("not yet")
    ui.button("Greet", on_click=lambda: label.set_text("Hello, NiceGUI!"))


ui.page("/")(page)
ui.run_with(app)
