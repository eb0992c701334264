"""Django as a WSGI application, with views that are no coroutines."""

import json
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.urls import path as route

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="only for tests", DEBUG=False)


def hello(request: HttpRequest) -> HttpResponseBase:
    return HttpResponse("hello", content_type="text/plain")


def echo(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse(json.loads(request.body))


def form(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse({"name": request.POST["name"], "size": len(request.FILES["file"].read())})


def stream(request: HttpRequest) -> HttpResponseBase:
    return StreamingHttpResponse(lines(), content_type="text/plain")


def lines() -> Iterator[str]:
    for number in range(3):
        yield f"line {number}\n"


def file(request: HttpRequest) -> HttpResponseBase:
    return FileResponse(Path(request.GET["path"]).open("rb"))


def path(request: HttpRequest, rest: str) -> HttpResponseBase:
    return JsonResponse({"rest": rest})


def cookies(request: HttpRequest) -> HttpResponseBase:
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

app = get_wsgi_application()
