"""What the user of --user may not do is found out before the start, with what helps."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corehttp.config import Config
from corehttp.errors import ConfigError
from corehttp.privileges import Account, Privileges
from corehttp.user_access import check_access, check_service, is_made_by_root
from tests.kit.other_user import NAMELESS, ForOthers, for_others, in_child

ACCOUNT = Account(NAMELESS, NAMELESS, (NAMELESS,), "www")
Check = Callable[..., None]


@pytest.fixture(scope="module")
def others() -> Iterator[ForOthers]:
    with for_others() as found:
        yield found


@pytest.fixture
def check(others: ForOthers, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Check, as the user, a configuration for a service that starts in a directory: that of all users, or another."""
    monkeypatch.setattr(sys, "executable", others.python)
    monkeypatch.setattr("corehttp.user_access._imported", lambda: (str(others.directory),))

    def check(directory: Path | None = None, **options: Any) -> None:
        config = Config(**{"app": "main:app", **options})

        def live() -> None:
            with Privileges(ACCOUNT).put_away() as privileges:
                check_access(config, privileges, str(directory or others.directory))

        in_child(live)

    return check


def closed(others: ForOthers) -> Path:
    """A new directory that only root may enter, with an application in it."""
    directory = others.own_directory(0)
    (directory / "main.py").write_text("")
    directory.chmod(0o700)
    return directory


def test_who_may_do_everything_is_left_alone(check: Check, others: ForOthers) -> None:
    own = others.own_directory(NAMELESS)
    check(pid=str(own / "pid"), bind=(f"unix:{own}/a", ":80"), control=str(own / "b"), admin=f"unix:{own}/c")


def test_a_directory_that_the_user_may_not_enter_is_named(check: Check, others: ForOthers) -> None:
    there = closed(others)
    (there / "below").mkdir()
    with pytest.raises(ConfigError, match=rf"^user: www cannot be in {there}, where .* name one with --chdir$"):
        check(there)
    with pytest.raises(ConfigError, match=rf"^chdir: user www cannot enter {there}/below: it may not enter {there}; "):
        check(there / "below", chdir="below")


def test_an_interpreter_that_the_user_cannot_run_is_named_with_what_is_in_the_way(
    check: Check, others: ForOthers, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = closed(others)
    link = others.directory / "linked-python"
    (there / "python").touch(0o755)
    link.symlink_to(there / "python")
    monkeypatch.setattr(sys, "executable", str(link))
    message = (
        rf"^user: www cannot run the Python of this service, {link}, .*: it may not enter {there}; have Python and"
    )
    with pytest.raises(ConfigError, match=message):
        check()
    check(supervise=False)  # in which no further interpreter is run
    link.unlink()


def test_packages_that_the_user_cannot_read_are_named(
    check: Check, others: ForOthers, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = closed(others)
    monkeypatch.setattr("corehttp.user_access._imported", lambda: (str(there),))
    with pytest.raises(ConfigError, match=f"^user: www cannot import modules from {there}: it may not read {there}; "):
        check()


@pytest.mark.parametrize("name", ["shop/__init__.py", "shop/web.py"])
def test_an_application_that_the_user_cannot_read_is_named(check: Check, others: ForOthers, name: str) -> None:
    there = others.own_directory(0)
    (there / "shop").mkdir()
    (there / "shop" / "__init__.py").write_text("")
    (there / "shop" / "web.py").write_text("")
    check(app="shop.web:app", app_dir=str(there))
    (there / name).chmod(0o600)
    message = f"^user: www cannot read the application, {there}/{name}: it may not read it; let it"
    with pytest.raises(ConfigError, match=message):
        check(app="shop.web:app", app_dir=str(there))
    (there / "shop").chmod(0o700)
    with pytest.raises(ConfigError, match=f"^user: www cannot read the application, .*: it may not enter {there}/shop"):
        check(app="shop.web:app", app_dir=str(there))


def test_an_application_whose_directory_the_user_cannot_list_is_named(check: Check, others: ForOthers) -> None:
    there = others.own_directory(0)
    (there / "main.py").write_text("")
    there.chmod(0o711)
    with pytest.raises(
        ConfigError, match=f"^user: www cannot read the application, {there}: it may not read {there}; "
    ):
        check(app_dir=str(there))


@pytest.mark.parametrize("option", ["env_file", "log_config", "ssl_certfile"])
def test_a_file_that_the_user_cannot_read_is_named(check: Check, others: ForOthers, option: str) -> None:
    there = others.own_directory(0)
    (there / "file").touch(0o600)
    message = (
        f"^{option.replace('_', '-')}: user www cannot read {there}/file: it may not read it; let that user read it$"
    )
    with pytest.raises(ConfigError, match=message):
        check(**{option: (str(there / "file"),) if option == "ssl_certfile" else str(there / "file")})


@pytest.mark.parametrize(
    ("option", "value"),
    [("pid", "{}/a"), ("uds", "{}/a"), ("bind", "unix:{}/a"), ("control", "{}/a"), ("admin", "unix:{}/a")],
)
def test_a_directory_in_which_the_user_can_make_and_remove_nothing_is_named(
    check: Check, others: ForOthers, option: str, value: str
) -> None:
    there = others.own_directory(0)
    text = value.format(there)
    message = rf"^{option}: user www cannot make {there}/a, and remove it at the end: it may not write to {there}; "
    with pytest.raises(ConfigError, match=message + f".* `install -d -o www {there}/NAME`$"):
        check(**{option: (text,) if option == "bind" else text})
    missing = value.format(f"{there}/missing")
    with pytest.raises(ConfigError, match=f"^{option}: .*: it finds no {there}/missing; "):
        check(**{option: (missing,) if option == "bind" else missing})


def test_a_socket_of_another_owner_needs_a_directory_in_which_it_can_be_removed(
    check: Check, others: ForOthers
) -> None:
    shared = others.own_directory(0)
    shared.chmod(0o1777)
    check(uds=str(shared / "a"), uds_owner=f"{NAMELESS}:7")
    with pytest.raises(
        ConfigError, match=rf"^uds-owner: user www could not remove {shared}/a at the end, since others'"
    ):
        check(uds=str(shared / "a"), uds_owner="7")
    with pytest.raises(ConfigError, match=r"^uds-owner: there is no user no-such-user$"):
        check(uds=str(shared / "a"), uds_owner="no-such-user")


def test_a_group_of_operators_must_be_one_of_the_users(check: Check, others: ForOthers) -> None:
    path = str(others.own_directory(NAMELESS) / "control")
    check(control=path, control_group=str(NAMELESS))
    with pytest.raises(ConfigError, match=r"^control-group: user www is not in the group 7:?, .*`usermod -aG 7 www`"):
        check(control=path, control_group="7:read")
    with pytest.raises(ConfigError, match=r"^control-group: there is no group nosuch$"):
        check(control=path, control_group="nosuch")


def service(others: ForOthers, read: Callable[[], Config], config: Config) -> None:
    def live() -> None:
        with Privileges(ACCOUNT).put_away() as privileges:
            check_service(config, privileges, str(others.directory), read)

    in_child(live)


@pytest.mark.usefixtures("check")
def test_a_configuration_that_the_user_cannot_read_again_is_named(others: ForOthers) -> None:
    config = Config(app="main:app", workers="2")

    def fail() -> Config:
        raise ConfigError("corehttp.toml cannot be read as TOML: Permission denied")

    service(others, lambda: Config(app="main:app", workers="2"), config)
    with pytest.raises(ConfigError, match=r"^user: www cannot read the configuration, as .*: corehttp\.toml cannot be"):
        service(others, fail, config)
    with pytest.raises(ConfigError, match=r"^user: www does not find the configuration that root has read, as each"):
        service(others, lambda: Config(app="main:app"), config)


@pytest.mark.usefixtures("check")
def test_root_makes_a_log_file_only_where_nobody_else_decides_where_its_path_leads(others: ForOthers) -> None:
    roots, own = others.own_directory(0), others.own_directory(NAMELESS)
    (own / "link").symlink_to(roots)
    (roots / "link").symlink_to(own / "link")
    (roots / "there").touch(0o600)
    for path in (own / "link" / "log", roots / "link" / "log", roots / "there", roots / "missing" / "log"):
        config = Config(app="main:app", log_file=str(path))
        service(others, lambda config=config: config, config)  # type: ignore[misc]
        assert not path.exists() or path.stat().st_uid == 0
        assert not path.exists() or path.name == "there"
    config = Config(app="main:app", log_file=str(roots / "log"))
    service(others, lambda: config, config)
    assert ((roots / "log").stat().st_uid, (roots / "log").stat().st_gid) == (NAMELESS, NAMELESS)


def test_a_file_that_is_there_is_not_made_by_root(others: ForOthers) -> None:
    path = others.own_directory(0) / "log"
    path.touch()
    assert not is_made_by_root(str(path))
    assert not is_made_by_root(os.devnull)
