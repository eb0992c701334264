"""What `--print-config` prints; what `--check-config` finds is for the tests in e2e."""

import tomllib

from corehttp.config import Config, options
from corehttp.inspection import lines


def test_what_is_printed_is_a_file_that_says_the_same() -> None:
    config = Config(
        app="main:app",
        port=80,
        root_path="/grüße",
        limit_exempt=("/a", "/b"),
        access_log_format='%(h)s "%(r)s" \\ %(s)s',
        timeout_request=2.5,
        preload=True,
        env_file=".env",
    )
    text = "\n".join(lines(config, {}))
    assert Config.from_sources({}, {}, tomllib.loads(text)) == config
    assert len(text.splitlines()) == len(options())


def test_each_line_has_the_source_of_its_value() -> None:
    told = {line.split(" = ")[0]: line for line in lines(Config(port=80, host="::"), {"port": "--port"})}
    assert told["port"].split("  # ") == [told["port"].split("  # ")[0], "--port"]
    assert told["host"].endswith("# the program")
    assert told["backlog"].endswith("# default")


def test_secrets_are_no_part_of_it() -> None:
    text = "\n".join(lines(Config(admin="127.0.0.1:1", admin_token="hidden-secret", header=((b"x-a", b"hidden"),)), {}))
    assert "hidden" not in text
    assert '# admin-token = "secret"' in text
    assert '# header = ["x-a"]' in text
    Config.from_sources({}, {}, tomllib.loads(text))
