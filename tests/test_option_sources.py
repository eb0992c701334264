"""Which source of an option wins, and what it is called."""

from corehttp.config import options
from corehttp.option_sources import Given, choose


def test_the_strongest_source_wins_and_is_named() -> None:
    flags: dict[str, object] = {"app": "main:app", "port": "1"}
    env = {
        "COREHTTP_PORT": "2",
        "COREHTTP_HOST": "h",
        "WEB_CONCURRENCY": "3",
        "COREHTTP_UDS": "",
        "COREHTTP_APP_DIR": "",
    }
    file: dict[str, object] = {"port": 4, "host": "f", "log-level": "debug", "access_log": False}
    assert choose(options(), flags, env, file, "corehttp.toml") == {
        "app": Given("main:app", "APP"),
        "app_dir": Given("", "COREHTTP_APP_DIR"),
        "host": Given("h", "COREHTTP_HOST"),
        "port": Given("1", "--port"),
        "workers": Given("3", "WEB_CONCURRENCY"),
        "log_level": Given("debug", "corehttp.toml: log-level"),
        "access_log": Given(False, "corehttp.toml: access_log"),
    }


def test_what_kubernetes_puts_into_the_environment_is_no_source() -> None:
    assert choose(options(), {}, {"COREHTTP_PORT": "tcp://10.0.0.1:80"}, {}, "") == {}
