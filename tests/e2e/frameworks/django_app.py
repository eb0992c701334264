import json
from collections.abc import AsyncIterator
from pathlib import Path

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.urls import path as route

settings.configure(
    ALLOWED_HOSTS=["*"],
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for tests",
    DEBUG=False,
)


async def hello(request: HttpRequest) -> HttpResponseBase:
    return HttpResponse("hello", content_type="text/plain")


async def echo(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse(json.loads(request.body))


async def form(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse({"name": request.POST["name"], "size": len(request.FILES["file"].read())})


async def stream(request: HttpRequest) -> HttpResponseBase:
    return StreamingHttpResponse(lines(), content_type="text/plain")


async def lines() -> AsyncIterator[str]:
    for number in range(3):
        yield f"line {number}\n"


def file(request: HttpRequest) -> HttpResponseBase:
    return FileResponse(Path(request.GET["path"]).open("rb"))


async def path(request: HttpRequest, rest: str) -> HttpResponseBase:
    return JsonResponse({"rest": rest})


async def cookies(request: HttpRequest) -> HttpResponseBase:
    response = JsonResponse(dict(request.COOKIES))
    response.set_cookie("seen", "1")
    response.set_cookie("often", "2")
    return response


urlpatterns = [
    route("hello", hello),
    route("echo", echo),
    route("form", form),
    route("stream", stream),
    route("file", file),
    route("path/<path:rest>", path),
    route("cookies", cookies),
]

app = get_asgi_application()
