"""What a service is called that was given no name: always something that `--name` takes."""

import pytest

from corehttp.config import Config
from corehttp.control.naming import default_name


@pytest.mark.parametrize(
    ("app", "address", "name"),
    [
        ("main:app", "http://127.0.0.1:8000", "main-8000"),
        ("shop.web.main", "http://[::]:80", "shop.web.main-80"),
        ("main:app", "unix:/run/shop/web.sock", "main-web"),
        ("main:app", "unix:web.sock", "main-web"),
        ("main:app", "unix:@abstract", "main-_abstract"),
        ("_main:app", "http://a:1", "app_main-1"),
        ("grüße:app", "http://a:1", "gr__e-1"),
        ("m" * 100, "http://a:8000", "m" * 56 + "-8000"),
        ("m" * 100, "unix:" + "p" * 100, "m" * 37 + "-" + "p" * 23),
        ("", "", "app-"),
    ],
)
def test_module_and_port(app: str, address: str, name: str) -> None:
    assert default_name(app, address) == name
    assert Config(name=name).name == name
