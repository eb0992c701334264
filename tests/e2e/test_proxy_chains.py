"""Behind two real proxies in a row, nginx and HAProxy in either order: who the client is, and where it thinks it is.

The outer proxy ends TLS, as far as its fields say, and speaks to the inner one from an address that nobody trusts.
"""

import re
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Start
from tests.kit.extent import varied
from tests.kit.proxies import SPOOFED, STRANGER, Proxies, Proxy, haproxy_config, nginx_config
from tests.kit.server_process import ROOT, ServerProcess, until

pytestmark = pytest.mark.e2e

APP = ("tests.e2e.proxied_application:app", "--app-dir", str(ROOT), "--port", "0")
OUTER = "127.0.0.77"  # the address from which the outer proxy speaks to the inner one
# What each proxy adds in either notation: the outer one names host and prefix, too, and writes one line, since nginx
# before 1.23 has only the first line of a field in a variable.
NGINX_ADDS = {
    ("outer", "x"): """
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto https;
        proxy_set_header X-Forwarded-Host example.org;
        proxy_set_header X-Forwarded-Port 443;
        proxy_set_header X-Forwarded-Prefix /api;
    """,
    ("inner", "x"): """
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto "$http_x_forwarded_proto, http";
    """,
    ("outer", "forwarded"): """
        proxy_set_header Forwarded "$http_forwarded, for=$remote_addr;proto=https;host=example.org";
        proxy_set_header X-Forwarded-Prefix /api;
    """,
    ("inner", "forwarded"): """
        proxy_set_header Forwarded "$http_forwarded, for=$remote_addr;proto=http";
    """,
}
HAPROXY_ADDS = {
    ("outer", "x"): """
    option forwardfor
    http-request set-header X-Forwarded-Proto https
    http-request set-header X-Forwarded-Host example.org
    http-request set-header X-Forwarded-Port 443
    http-request set-header X-Forwarded-Prefix /api
    """,
    ("inner", "x"): """
    option forwardfor
    http-request add-header X-Forwarded-Proto http
    """,
    ("outer", "forwarded"): """
    http-request set-header Forwarded "%[req.fhdr(Forwarded)], for=%[src];proto=https;host=example.org"
    http-request set-header X-Forwarded-Prefix /api
    """,
    ("inner", "forwarded"): """
    http-request add-header Forwarded for=%[src];proto=http
    """,
}


def proxy(proxies: Proxies, name: str, place: str, notation: str, upstream: int) -> Proxy:
    """A proxy in front of whatever listens on the port `upstream`."""

    def nginx(port: int, directory: Path) -> str:
        bind = f"proxy_bind {OUTER};" if place == "outer" else ""
        return nginx_config(
            f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{upstream};"
            f" proxy_http_version 1.1; proxy_set_header Host $http_host; {bind}"
            f" {NGINX_ADDS[place, notation]} }} }}"
        )

    def haproxy(port: int, directory: Path) -> str:
        source = f"source {OUTER}" if place == "outer" else ""
        return haproxy_config(
            f"frontend public\n    bind 127.0.0.1:{port}\n{HAPROXY_ADDS[place, notation]}\n    default_backend next\n"
            f"backend next\n    server one 127.0.0.1:{upstream} {source}"
        )

    return proxies.nginx(nginx) if name == "nginx" else proxies.haproxy(haproxy)


def chain(proxies: Proxies, outer: str, notation: str, server: ServerProcess) -> Proxy:
    """The outer one of two proxies before the server."""
    inner = proxy(proxies, "haproxy" if outer == "nginx" else "nginx", "inner", notation, server.port)
    return proxy(proxies, outer, "outer", notation, inner.port)


def asked(front: Proxy) -> list[dict[str, object]]:
    """What the application is told of an honest client, and of one that invents; both have the address STRANGER."""
    with httpx.Client(transport=httpx.HTTPTransport(local_address=STRANGER)) as client:
        return [client.get(f"{front.url}/who", headers=headers).json() for headers in ({}, SPOOFED)]


@pytest.mark.parametrize("outer", varied("nginx", "haproxy"))
@pytest.mark.parametrize(
    ("notation", "fields"), [("x", "for,proto,host,port,prefix"), ("forwarded", "forwarded,prefix")]
)
@pytest.mark.parametrize("known_by", ["number", "address"])
def test_the_client_behind_two_proxies_is_whom_the_outer_one_has_seen(
    start: Start, proxies: Proxies, outer: str, notation: str, fields: str, known_by: str
) -> None:
    options = {
        "number": ("--forwarded-hops", "2"),
        "address": ("--forwarded-allow-ips", f"127.0.0.1,{OUTER}"),
    }
    server = start(*APP, "--forwarded-fields", fields, *options[known_by])
    for said in asked(chain(proxies, outer, notation, server)):
        assert said["client"] == [STRANGER, 0]
        assert said["scheme"] == "https"
        assert said["server"] == ["example.org", 443]
        assert said["url"] == "https://example.org/api/who"
    until(lambda: server.stdout.count('"GET /who') == 2, "the access log")
    assert re.findall(r"\] (\S+) \"GET /who", server.stdout) == [STRANGER] * 2
    assert "forwarded" not in server.stderr


@pytest.mark.parametrize("outer", ["nginx", "haproxy"])
def test_an_outer_proxy_that_is_neither_counted_nor_named_is_the_client(
    start: Start, proxies: Proxies, outer: str
) -> None:
    for said in asked(chain(proxies, outer, "x", start(*APP))):
        assert said["client"] == [OUTER, 0]
        assert said["scheme"] == "http"
