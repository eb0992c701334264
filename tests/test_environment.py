"""Variables that begin like our options: misspelt ones are told, ours and those of Kubernetes are not."""

import pytest

from corehttp.config import names, options
from corehttp.environment import warnings, without_service_links

# As a pod has it beside a service named corehttp with two ports, and one named corehttp-web.
KUBERNETES = {
    "COREHTTP_SERVICE_HOST": "10.0.0.1",
    "COREHTTP_SERVICE_PORT": "8000",
    "COREHTTP_SERVICE_PORT_HTTP": "8000",
    "COREHTTP_PORT_8000_TCP": "tcp://10.0.0.1:8000",
    "COREHTTP_PORT_8000_TCP_PROTO": "tcp",
    "COREHTTP_PORT_8000_TCP_PORT": "8000",
    "COREHTTP_PORT_8000_TCP_ADDR": "10.0.0.1",
    "COREHTTP_PORT_53_UDP": "udp://10.0.0.1:53",
    "COREHTTP_WEB_SERVICE_HOST": "10.0.0.2",
    "COREHTTP_WEB_SERVICE_PORT": "80",
    "COREHTTP_WEB_PORT": "tcp://10.0.0.2:80",
    "COREHTTP_WEB_PORT_80_TCP": "tcp://10.0.0.2:80",
    "COREHTTP_WEB_PORT_80_TCP_ADDR": "10.0.0.2",
}


def told(env: dict[str, str]) -> list[str]:
    return list(warnings(env, names()))


def test_options_and_what_a_supervisor_sets_need_no_word() -> None:
    env = {entry.env: "1" for entry in options()}
    env |= {"COREHTTP_WORKER_ID": "1", "COREHTTP_WORKER_PID": "2", "COREHTTP_ESTATE": "00", "PATH": "", "COREHTTP": "1"}
    assert told(env) == []


def test_service_links_are_taken_out_and_only_the_one_that_looks_like_an_option_is_told() -> None:
    env = {**KUBERNETES, "COREHTTP_PORT": "tcp://10.0.0.1:8000", "COREHTTP_WORKERS": "2"}
    assert without_service_links(env) == {"COREHTTP_WORKERS": "2"}
    [line] = told(env)
    assert line.startswith(
        "COREHTTP_PORT=tcp://10.0.0.1:8000 is ignored: Kubernetes sets it for a service named corehttp"
    )
    assert told(KUBERNETES) == []


@pytest.mark.parametrize("value", ["8000", "http", "", "0"])
def test_a_port_is_an_option_unless_it_is_an_address(value: str) -> None:
    assert without_service_links({"COREHTTP_PORT": value}) == {"COREHTTP_PORT": value}
    assert told({"COREHTTP_PORT": value}) == []


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("COREHTTP_WORKES", "; did you mean 'COREHTTP_WORKERS'?"),
        ("COREHTTP_LOGLEVEL", "; use COREHTTP_LOG_LEVEL"),
        ("COREHTTP_CERTFILE", "; use COREHTTP_SSL_CERTFILE"),
        ("COREHTTP_SSL_CONTEXT", "; name the files: COREHTTP_SSL_CERTFILE, COREHTTP_SSL_KEYFILE (docs/tls.md)"),
        ("COREHTTP_Workers", "; did you mean 'COREHTTP_WORKERS'?"),
        ("COREHTTP_TIMEOUT_KEEPALIVE", "; did you mean 'COREHTTP_TIMEOUT_KEEP_ALIVE'?"),
        ("COREHTTP_ZZZ", ""),
    ],
)
def test_a_misspelt_variable_is_told_with_what_is_close(name: str, end: str) -> None:
    assert told({name: "1"}) == [f"{name} is not an option and is ignored{end}"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("UVICORN_PORT", "UVICORN_PORT is not read; use COREHTTP_PORT"),
        ("UVICORN_H11_MAX_INCOMPLETE_EVENT_SIZE", "{name} is not read; use COREHTTP_LIMIT_REQUEST_HEAD"),
        ("UVICORN_SSL_KEYFILE", "{name} is not read; use COREHTTP_SSL_KEYFILE"),
    ],
)
def test_a_variable_of_uvicorn_is_told_with_what_to_use(name: str, line: str) -> None:
    assert told({name: "1"}) == [line.format(name=name)]


def test_other_variables_that_begin_so_are_nobodys_business() -> None:
    assert told({"UVICORN_THEME": "dark", "UVICORN": "1", "UVICORN_": "1"}) == []
