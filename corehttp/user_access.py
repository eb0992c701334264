"""Whether the user of --user can do what a service does: found out before anything is bound."""

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator

from corehttp import log_file
from corehttp.accounts import group_id, owner
from corehttp.bind_option import UnixPlace, places
from corehttp.config import Config
from corehttp.errors import ConfigError
from corehttp.log_config_option import path_of
from corehttp.log_paths import log_paths
from corehttp.option_kinds import split_address
from corehttp.privileges import Account, Privileges
from corehttp.records import values
from corehttp.tls.settings import files, tls_settings


def check_service(config: Config, privileges: Privileges, directory: str, read: Callable[[], Config]) -> None:
    """Check what the account may do, and make the log files that only root can make; otherwise as `check_access`.

    `read` reads the configuration afresh: the account must find what root has found.
    """
    account = privileges.account
    if account is None:
        return
    check_access(config, privileges, directory)
    try:
        is_same = read() == config
    except ConfigError as error:
        raise ConfigError(
            f"user: {account.given} cannot read the configuration, as each reload does: {error}"
        ) from None
    if not is_same:
        raise ConfigError(
            f"user: {account.given} does not find the configuration that root has read, as each reload does: let that "
            "user read corehttp.toml or pyproject.toml, and enter its directory"
        )
    for path in log_paths(config).values():
        _make_log_file(path, account, privileges)


def check_access(config: Config, privileges: Privileges, directory: str) -> None:
    """Raise ConfigError, with what helps, for the first thing that the account may not do though the service needs it.

    `directory` is where the service starts. To be called while the process acts as the account.
    """
    account = privileges.account
    if account is None:
        return
    _check_directory(config, account, directory)
    _check_python(config, account)
    with privileges.taken():  # for root to see what the account may not even see
        modules = list(_module_files(config, directory))
    for path in modules:
        if blocked := _obstacle(path, os.R_OK):
            raise ConfigError(
                f"user: {account.given} cannot read the application, {path}: it {blocked}; let it, or have the "
                "application where it may"
            )
    for option, given in _read_files(config):
        if blocked := _obstacle(os.path.join(directory, given), os.R_OK):
            raise ConfigError(
                f"{option}: user {account.given} cannot read {given}: it {blocked}; let that user read it"
            )
    _check_paths(config, account, directory)
    _check_control_group(config, account)


def _read_files(config: Config) -> Iterator[tuple[str, str]]:
    """Yield each file that the processes of the service read, with its option."""
    for option, path in (("env-file", config.env_file), ("log-config", path_of(config.log_config))):
        if path is not None:
            yield option, path
    settings = tls_settings(config)
    if settings is not None:
        yield from files(settings)


def _check_directory(config: Config, account: Account, directory: str) -> None:
    """Raise ConfigError if the account may not be in the directory in which the service starts."""
    if not (blocked := _obstacle(directory, os.X_OK)):
        return
    if config.chdir is None:
        raise ConfigError(
            f"user: {account.given} cannot be in {directory}, where the service starts: it {blocked}; start in another "
            "directory, or name one with --chdir"
        )
    raise ConfigError(f"chdir: user {account.given} cannot enter {directory}: it {blocked}; let it, or name another")


def _check_python(config: Config, account: Account) -> None:
    """Raise ConfigError if the account cannot run this interpreter, or read what it imports."""
    place = "have Python and the packages where every user may read them, as below /opt or /usr/local"
    if config.supervised and (blocked := _obstacle(sys.executable, os.X_OK)):
        raise ConfigError(
            f"user: {account.given} cannot run the Python of this service, {sys.executable}, of which each worker is a "
            f"process: it {blocked}; {place}"
        )
    for directory in _imported():
        if blocked := _obstacle(directory, os.R_OK | os.X_OK):
            raise ConfigError(f"user: {account.given} cannot import modules from {directory}: it {blocked}; {place}")


def _imported() -> tuple[str, ...]:
    """Return the directories of the standard library and of this package."""
    return os.path.dirname(os.__file__), os.path.dirname(os.path.abspath(__file__))


def _module_files(config: Config, directory: str) -> Iterator[str]:
    """Yield the directory and the files that are read to import the application's module, if it is no archive."""
    if not issubclass(type(config.app), str):
        return
    parts = config.app.partition(":")[0].split(".")
    for entry in (os.path.join(directory, config.app_dir), *sys.path):
        path = os.path.join(entry, parts[0])
        if not os.path.isfile(f"{path}.py") and not os.path.isdir(path):
            continue
        yield os.path.abspath(entry)  # modules are looked for in the list of its files
        for length in range(1, len(parts) + 1):
            path = os.path.join(entry, *parts[:length])
            yield from filter(os.path.isfile, (os.path.join(path, "__init__.py"), f"{path}.py"))
        return


def _check_paths(config: Config, account: Account, directory: str) -> None:
    """Raise ConfigError if the account could not make a file or socket, or not remove it at the end."""
    for option, path, user in _made(config):
        parent = os.path.dirname(os.path.join(directory, path)) or directory
        hint = f"as by `install -d -o {account.given} {os.path.join(parent, 'NAME')}`"
        if blocked := _obstacle(parent, os.W_OK | os.X_OK):
            raise ConfigError(
                f"{option}: user {account.given} cannot make {path}, and remove it at the end: it {blocked}; name a "
                f"path in a directory of that user, {hint}"
            )
        found = os.stat(parent)
        if user not in (-1, account.uid) and found.st_mode & stat.S_ISVTX and found.st_uid != account.uid:
            raise ConfigError(
                f"uds-owner: user {account.given} could not remove {path} at the end, since others' files in {parent} "
                f"are kept from removal (its sticky bit): name a path in a directory of that user, {hint}"
            )


def _made(config: Config) -> Iterator[tuple[str, str, int]]:
    """Yield each file or socket that is made: its option, its path, and the user it is given to, or -1."""
    if config.pid is not None:
        yield "pid", config.pid, -1
    for place in places(values(config)):
        if isinstance(place, UnixPlace):
            yield ("bind" if config.bind else "uds"), place.path, _owner(config.uds_owner)
    if config.control not in ("auto", "off"):
        yield "control", config.control, -1
    if config.admin is not None and isinstance(path := split_address(config.admin), str):
        yield "admin", path, -1


def _make_log_file(path: str, account: Account, privileges: Privileges) -> None:
    """Make a log file for the account, if root is to make it; where that fails, `check_log_files` tells."""
    if not is_made_by_root(path):
        return
    if sys.platform == "win32":
        raise NotImplementedError
    with privileges.taken(), contextlib.suppress(OSError):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, log_file.MODE)
        os.fchown(fd, account.uid, account.gid)
        os.close(fd)


def is_made_by_root(path: str) -> bool:
    """Whether root makes a log file, and gives it to the account that this process acts as.

    So it is in a directory that only root may write to, such as /var/log. Root makes nothing where others decide where
    the path leads: it could be in any directory then.
    """
    directory = os.path.dirname(path)
    return not os.path.lexists(path) and bool(_obstacle(directory, os.W_OK | os.X_OK)) and _is_roots(directory)


def _is_roots(path: str) -> bool:
    """Whether nobody but root can change where a path leads, which must be a directory."""
    if not os.path.isdir(path):
        return False
    for part in (*_above(os.path.abspath(path)), os.path.abspath(path)):
        found = os.lstat(part)
        is_link = stat.S_ISLNK(found.st_mode)
        if found.st_uid != 0 or (not is_link and found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX):
            return False
        if is_link and not _is_roots(os.path.join(os.path.dirname(part), os.readlink(part))):
            return False
    return True


def _owner(text: str) -> int:
    """Return the user of an owner as --uds-owner has it; -1 if it names none. Raises ConfigError."""
    try:
        return owner(text)[0]
    except LookupError as error:
        raise ConfigError(f"uds-owner: {error.args[0]}") from None


def _check_control_group(config: Config, account: Account) -> None:
    """Raise ConfigError if the account may not give the control socket to the group of --control-group."""
    name = config.control_group.partition(":")[0]
    if not name or not account.uid:
        return
    try:
        group = group_id(name)
    except LookupError as error:
        raise ConfigError(f"control-group: {error.args[0]}") from None
    if group not in account.groups:
        raise ConfigError(
            f"control-group: user {account.given} is not in the group {name}, and so cannot give it the control "
            f"socket: make it a member (`usermod -aG {name} {account.given}`), or name another group"
        )


def _obstacle(path: str, mode: int) -> str:
    """Return what the process may not do on the way to a path or with it, to follow "it"; empty if it may do all.

    `mode` is what it needs there, as os.access(2) takes it. Each symbolic link on the way is followed, too.
    """
    for way in dict.fromkeys((os.path.abspath(path), os.path.realpath(path))):
        for directory in _above(way):
            if not _may(directory, os.X_OK):
                return f"may not enter {directory}"
    if _may(path, mode):
        return ""
    if not os.path.lexists(path):
        return f"finds no {path}"
    if mode & os.W_OK:
        return f"may not write to {path}"
    if os.path.isdir(path):
        return f"may not enter {path}" if mode == os.X_OK else f"may not read {path}"
    return f"may not {'run' if mode & os.X_OK else 'read'} it"


def _may(path: str, mode: int) -> bool:
    """Whether the process may do this with a path, by its effective ids."""
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _above(path: str) -> Iterable[str]:
    """Return the directories above a path, from the root on."""
    parents: list[str] = []
    while (parent := os.path.dirname(path)) != path:
        parents.append(parent)
        path = parent
    return reversed(parents)
