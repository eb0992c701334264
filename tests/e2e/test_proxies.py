"""Behind real proxies: who the client is, and where it thinks it is."""

from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Start
from tests.e2e.proxies import Proxies, haproxy_config, nginx_config
from tests.e2e.server_process import ROOT

pytestmark = pytest.mark.e2e

APP = ("tests.e2e.frameworks.fastapi_app:app", "--app-dir", str(ROOT), "--port", "0")


def test_nginx(start: Start, proxies: Proxies) -> None:
    server = start(*APP)

    def configure(port: int, directory: Path) -> str:
        return nginx_config(f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {server.url}; }} }}")

    assert httpx.get(proxies.nginx(configure).url + "/hello").text == "hello"


def test_haproxy(start: Start, proxies: Proxies) -> None:
    server = start(*APP)

    def configure(port: int, directory: Path) -> str:
        return haproxy_config(
            f"frontend public\n    bind 127.0.0.1:{port}\n    default_backend app\n"
            f"backend app\n    server one 127.0.0.1:{server.port}"
        )

    assert httpx.get(proxies.haproxy(configure).url + "/hello").text == "hello"
