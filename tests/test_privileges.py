"""Becoming another user: who can be named, what the process is meanwhile, and that there is no way back."""

import os
import pwd
from pathlib import Path

import pytest

from corehttp.errors import ConfigError, StartupError
from corehttp.privileges import Account, Privileges, wanted_account
from tests.kit.other_user import NAMELESS, NOBODY, in_child

_NOBODY = pwd.getpwnam("nobody")
ACCOUNT = Account(NOBODY, NAMELESS, (NAMELESS, NOBODY), "nobody", "nobody", "/nonexistent")


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture
def alice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 1001)


def state() -> list[object]:
    """The user, the group and the other groups that this process acts as, and those that it was started as."""
    return [os.geteuid(), os.getegid(), sorted(os.getgroups()), os.getuid(), os.getgid()]


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("user", ["nobody", str(_NOBODY.pw_uid)])
def test_a_user_has_its_own_groups_its_name_and_its_home(user: str) -> None:
    account = wanted_account(user, None)
    assert account is not None
    assert (account.uid, account.gid, account.given) == (_NOBODY.pw_uid, _NOBODY.pw_gid, user)
    assert account.groups == tuple(sorted(os.getgrouplist("nobody", _NOBODY.pw_gid)))
    assert account.variables == {"HOME": _NOBODY.pw_dir, "USER": "nobody", "LOGNAME": "nobody"}


@pytest.mark.usefixtures("root")
def test_another_group_takes_the_place_of_the_users_own() -> None:
    account = wanted_account("nobody", str(NAMELESS))
    assert account is not None
    assert account.gid == NAMELESS
    assert NAMELESS in account.groups


@pytest.mark.usefixtures("root")
def test_a_number_without_a_name_needs_a_group_and_has_no_home() -> None:
    assert wanted_account(str(NAMELESS), "7") == Account(NAMELESS, 7, (7,), str(NAMELESS))
    with pytest.raises(ConfigError, match=f"^user: {NAMELESS} has no name, and so no group of its own: give one with"):
        wanted_account(str(NAMELESS), None)


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    ("user", "group", "message"),
    [
        ("no-such-user", None, "user: there is no user no-such-user; name one that exists"),
        ("4294967295", "7", "user: there is no user 4294967295: the highest number is 4294967294"),
        ("nobody", "no-such-group", "group: there is no group no-such-group; name one that exists"),
    ],
)
def test_who_is_unknown_is_named_with_the_option(user: str, group: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        wanted_account(user, group)


@pytest.mark.usefixtures("alice")
def test_only_root_can_become_another_user() -> None:
    assert wanted_account("1000", "1001") is None  # as a new supervisor finds it, which the old one has started
    with pytest.raises(ConfigError, match=r"^user: only root can become nobody, and this process has uid 1000: start"):
        wanted_account("nobody", None)
    with pytest.raises(
        ConfigError, match=r"^group: only root can change its group to 7, and this process has uid 1000"
    ):
        wanted_account("1000", "7")


def test_without_an_account_nothing_changes() -> None:
    privileges, before = Privileges(None), state()
    with privileges.put_away(), privileges.taken():
        privileges.drop()
        assert state() == before


def test_rights_that_are_put_away_can_be_taken_back_for_a_moment_and_come_back_at_the_end() -> None:
    def live() -> list[list[object]]:
        privileges, states = Privileges(ACCOUNT), [state()]
        with privileges.put_away():
            states.append(state())
            with privileges.taken():
                states.append(state())
            states.append(state())
        return [*states, state()]

    before, away, taken, again, after = in_child(live)
    assert before == after == state()
    assert away == again == [NOBODY, NAMELESS, sorted([NAMELESS, NOBODY]), 0, before[4]]
    assert taken[0] == 0


def test_dropped_rights_are_gone_for_good() -> None:
    def live() -> list[object]:
        os.environ["HOME"] = "/root"
        privileges = Privileges(ACCOUNT)
        with privileges.put_away():
            privileges.drop()
            with privileges.taken():
                assert os.geteuid() == NOBODY
        for way in (os.seteuid, os.setuid, os.setegid, os.setgid, lambda group: os.setgroups([group])):
            with pytest.raises(PermissionError):
                way(0)
        return [*state(), os.environ["HOME"], os.environ["USER"], os.environ["LOGNAME"]]

    groups = sorted([NAMELESS, NOBODY])
    expected = [NOBODY, NAMELESS, groups, NOBODY, NAMELESS, "/nonexistent", "nobody", "nobody"]
    assert in_child(live) == expected


def test_a_user_without_a_name_has_no_home_and_not_that_of_root() -> None:
    def live() -> list[str]:
        os.environ.update(HOME="/root", USER="root", LOGNAME="root")
        privileges = Privileges(Account(NAMELESS, NAMELESS, (NAMELESS,), str(NAMELESS)))
        with privileges.put_away():
            privileges.drop()
        return sorted({"HOME", "USER", "LOGNAME"} & set(os.environ))

    assert in_child(live) == []


def test_a_process_that_could_become_root_again_does_not_start() -> None:
    def live() -> None:
        os.setuid = lambda uid: None
        os.getuid = lambda: NOBODY
        os.geteuid = lambda: NOBODY
        privileges = Privileges(ACCOUNT)
        with privileges.put_away():
            privileges.drop()

    with pytest.raises(StartupError, match=r"^user: the process has become nobody, but could become root again"):
        in_child(live)


def test_rights_that_cannot_be_put_away_leave_the_process_as_it_was() -> None:
    def live() -> list[list[object]]:
        def refuse(uid: int) -> None:
            raise PermissionError(1, "Operation not permitted")

        before, os.seteuid = state(), refuse
        with pytest.raises(ConfigError, match="CAP_SETUID"), Privileges(ACCOUNT).put_away():
            raise AssertionError
        return [before, state()]

    before, after = in_child(live)
    assert before == after


def test_root_without_its_capabilities_is_told_so(tmp_path: Path) -> None:
    def live() -> None:
        os.setuid(NOBODY)
        with Privileges(ACCOUNT).put_away():
            raise AssertionError

    with pytest.raises(ConfigError, match=r"^user: root may not become nobody here \(Operation not permitted; CAP_SET"):
        in_child(live)
