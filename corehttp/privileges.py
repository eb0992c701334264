"""The user that a service runs as (--user, --group), and root's rights until they are given up for good.

A service that was started as root to become another user acts as that user from its first step on (seteuid(2)), and
takes root's rights back only for what no other user may do, such as to bind a port below 1024. So nothing that the user
has put at a path makes root open, change or remove another file. Before any process is started the rights are given up.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Self

from corehttp import accounts
from corehttp.errors import ConfigError, StartupError
from corehttp.records import record

# Returns a context in which the process has root's rights, if it has any left.
Privileged = Callable[[], AbstractContextManager[object]]


@record
class Account:
    """A user, and the groups that its processes have."""

    uid: int
    gid: int
    groups: tuple[int, ...]  # the supplementary groups, `gid` among them
    given: str  # the user as --user names it, for messages
    login: str = ""  # the user's name; empty if the number has none
    home: str = ""  # the user's home directory; empty if the number has no name

    @property
    def variables(self) -> dict[str, str]:
        """HOME, USER and LOGNAME of the environment, as far as they are known."""
        found = {"HOME": self.home, "USER": self.login, "LOGNAME": self.login}
        return {name: text for name, text in found.items() if text}


def wanted_account(user: str | None, group: str | None) -> Account | None:
    """Return the account that --user and --group name; None if there is no --user, or the process is that user.

    Raises ConfigError for a name that is unknown, for a number without a name where no group is given, and where the
    process is not root, who alone can become another user.
    """
    if user is None:
        return None
    if sys.platform == "win32":
        raise NotImplementedError
    account = _find(user, group)
    if os.geteuid() == 0:
        return account
    if account.uid != os.geteuid():
        raise ConfigError(
            f"user: only root can become {user}, and this process has uid {os.geteuid()}: start it as root, or leave "
            "out --user"
        )
    if account.gid != os.getegid():
        raise ConfigError(
            f"group: only root can change its group to {group or account.gid}, and this process has uid "
            f"{os.geteuid()} and gid {os.getegid()}: start it as root, or leave out --user and --group"
        )
    return None


def _find(user: str, group: str | None) -> Account:
    """Return the account of a user and a group, names or numbers. Raises ConfigError."""
    if sys.platform == "win32":
        raise NotImplementedError
    import pwd  # here, since few services need it

    try:
        uid = accounts.user_id(user)
    except LookupError as error:
        raise ConfigError(f"user: {error.args[0]}; name one that exists, or a number together with --group") from None
    try:
        gid = None if group is None else accounts.group_id(group)
    except LookupError as error:
        raise ConfigError(f"group: {error.args[0]}; name one that exists, or a number") from None
    try:
        entry = pwd.getpwuid(uid) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        if gid is None:
            raise ConfigError(f"user: {user} has no name, and so no group of its own: give one with --group") from None
        return Account(uid, gid, (gid,), user)
    gid = entry.pw_gid if gid is None else gid
    groups = tuple(sorted({gid, *os.getgrouplist(entry.pw_name, gid)}))
    return Account(uid, gid, groups, user, entry.pw_name, entry.pw_dir)


class Privileges:
    """Root's rights of a process that is to serve as `account`. Without an account everything stays as it is."""

    def __init__(self, account: Account | None) -> None:
        self.account = account
        self._are_away = False  # whether the process acts as the account, and can take root's rights back

    @contextlib.contextmanager
    def put_away(self) -> Iterator[Self]:
        """Act as the account while the context is entered, and afterwards as root again, unless `drop` was called.

        Yields these privileges. Raises ConfigError if the process may not become another user though it is root.
        """
        account = self.account
        if account is None:
            yield self
            return
        if sys.platform == "win32":
            raise NotImplementedError
        before = os.getgroups(), os.getegid()
        try:
            os.setgroups(account.groups)
            os.setegid(account.gid)
            os.seteuid(account.uid)
        except OSError as error:
            with contextlib.suppress(OSError):
                _take_groups(*before)
            raise ConfigError(
                f"user: root may not become {account.given} here ({error.strerror}; CAP_SETUID and CAP_SETGID are "
                "needed): leave out --user, and have what starts the service choose its user"
            ) from error
        self._are_away = True
        try:
            yield self
        finally:
            if self._are_away:
                self._are_away = False
                os.seteuid(0)
                _take_groups(*before)

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Take root's rights back while the context is entered, for what the account may not do; see `Privileged`."""
        if self.account is None or not self._are_away:
            yield
            return
        if sys.platform == "win32":
            raise NotImplementedError
        os.seteuid(0)
        try:
            yield
        finally:
            os.seteuid(self.account.uid)

    def drop(self) -> None:
        """Become the account for good, and put its HOME, USER and LOGNAME into the environment.

        Raises StartupError if the process could become root again all the same, or does not have the account's ids.
        """
        account = self.account
        if account is None or not self._are_away:
            return
        if sys.platform == "win32":
            raise NotImplementedError
        os.seteuid(0)
        import ctypes  # here, since few services need it, and while root can read it

        os.setgroups(account.groups)
        os.setgid(account.gid)
        os.setuid(account.uid)
        self._are_away = False
        _check_dropped(account)
        if sys.platform == "linux":
            # A change of the user hides the process's descriptors (proc(5), /proc/pid/fd) from itself, which an exec by
            # the user does not: PR_SET_DUMPABLE of prctl(2). What this process has read, the user may read.
            ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
        for name in ("HOME", "USER", "LOGNAME"):
            os.environ.pop(name, None)
        os.environ.update(account.variables)


def _take_groups(groups: Sequence[int], gid: int) -> None:
    """Act with these supplementary groups and this group, as root may. Raises OSError."""
    if sys.platform == "win32":
        raise NotImplementedError
    os.setegid(gid)
    os.setgroups(groups)


def _check_dropped(account: Account) -> None:
    """Raise StartupError unless the process has the account's ids and groups, and no way back to root's."""
    if sys.platform == "win32":
        raise NotImplementedError
    has = (os.getuid(), os.geteuid(), os.getgid(), os.getegid(), *sorted(os.getgroups()))
    if has != (account.uid, account.uid, account.gid, account.gid, *sorted(account.groups)):
        raise StartupError(f"user: the process has not become {account.given}: its ids are {has}")
    returns = account.uid != 0 and _succeeds(os.seteuid)
    if returns or (account.gid != 0 and account.uid != 0 and _succeeds(os.setegid)):
        raise StartupError(
            f"user: the process has become {account.given}, but could become root again: start it without securebits "
            "that keep its capabilities (capabilities(7))"
        )


def _succeeds(change: Callable[[int], object]) -> bool:
    """Whether the process can change an id of its own to root's, which is tried."""
    try:
        change(0)
    except PermissionError:
        return False
    return True
