from typing import Any

from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path

from tests.e2e.frameworks.django_app import app as django


class Chat(AsyncWebsocketConsumer):  # type: ignore[misc]
    """What one says, all in the room hear."""

    async def connect(self) -> None:
        self.room = self.scope["url_route"]["kwargs"]["room"]
        if self.room == "closed":
            await self.close()
            return
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept("chat")
        await self.send(f"welcome to {self.room}")

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(self.room, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if text_data == "bye":
            await self.close(3000, "bye")
        else:
            said = {"type": "said", "text_data": text_data, "bytes_data": bytes_data}
            await self.channel_layer.group_send(self.room, said)

    async def said(self, event: dict[str, Any]) -> None:
        await self.send(event["text_data"], event["bytes_data"])


class Threaded(WebsocketConsumer):  # type: ignore[misc]
    """Runs in threads."""

    def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        self.send(text_data, bytes_data)


routes = [path("chat/<str:room>", Chat.as_asgi()), path("threaded", Threaded.as_asgi())]
app = ProtocolTypeRouter({"http": django, "websocket": URLRouter(routes)})
