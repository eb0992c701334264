"""Which options are refused on Windows, and how."""

import re

import pytest

from corehttp.config import Config, options
from corehttp.errors import ELSEWHERE, ConfigError
from corehttp.option_conflicts import SUPERVISED
from corehttp.windows_options import check_windows

DEFAULTS = {entry.name: entry.default for entry in options()}


def check(**given: object) -> None:
    check_windows({**DEFAULTS, **given}, DEFAULTS, SUPERVISED)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"workers": "2"}, "workers 2"),
        ({"workers": "auto"}, "workers auto"),
        ({"uds": "/run/a.sock"}, "uds"),
        ({"fd": 3}, "fd"),
        ({"bind": ("unix:/run/a.sock",)}, "bind to anything but HOST:PORT"),
        ({"bind": ("127.0.0.1:0", "fd://3")}, "bind to anything but HOST:PORT"),
        ({"user": "www"}, "user"),
        ({"group": "www"}, "group"),
        ({"umask": "022"}, "umask"),
        ({"pid": "a.pid"}, "pid"),
        ({"reload": True}, "reload"),
        ({"control": "a.sock"}, "control a.sock"),
        ({"admin": "127.0.0.1:9000"}, "admin"),
        ({"sticky": ("ip",)}, "sticky"),
        ({"spread": "kernel"}, "spread"),
        ({"preload": True}, "preload"),
        ({"bus": "redis://127.0.0.1"}, "bus"),
        ({"loop": "uvloop"}, "loop uvloop"),
        ({"log_max_size": 1 << 20}, "log-max-size"),
        ({"limit_max_requests": 9}, "limit-max-requests"),
    ],
    ids=str,
)
def test_what_is_not_there_is_refused_by_its_name_with_what_to_do(given: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{re.escape(named)}: .*{re.escape(ELSEWHERE)}$"):
        check(**given)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"host": "0.0.0.0", "port": 80},
        {"bind": ("127.0.0.1:0", "[::1]:0")},
        {"ssl_certfile": ("a.pem",)},
        {"workers": "1", "control": "off", "supervise": False},
        {"limit_concurrency": 4, "log_file": "a.log", "root_path": "/a", "timeout_keep_alive": 1.0},
    ],
    ids=str,
)
def test_what_one_worker_serves_by_itself_is_taken(given: dict[str, object]) -> None:
    check(**given)


def test_every_option_that_is_refused_is_an_option() -> None:
    assert set(SUPERVISED) <= {entry.name for entry in options()}
    assert Config().supervised  # on this system nothing is refused
