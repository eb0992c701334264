"""A Gradio interface mounted on FastAPI: one event that is queued, one that is not, and one that streams."""

import time
from collections.abc import Iterator

import gradio
from fastapi import FastAPI


def greet(name: str) -> str:
    return f"Hello, {name}!"


def count(name: str) -> Iterator[str]:
    for number in range(3):
        yield f"{name} {number}"
        time.sleep(0.05)
    yield f"{name} done"


with gradio.Blocks() as interface:
    name = gradio.Textbox("world", elem_id="name")
    direct = gradio.Textbox(elem_id="direct")
    queued = gradio.Textbox(elem_id="queued")
    streamed = gradio.Textbox(elem_id="streamed")
    gradio.Button("direct", elem_id="ask-direct").click(greet, name, direct, queue=False)
    gradio.Button("queued", elem_id="ask-queued").click(greet, name, queued)
    gradio.Button("streamed", elem_id="ask-streamed").click(count, name, streamed)

app = gradio.mount_gradio_app(FastAPI(), interface, path="/")
