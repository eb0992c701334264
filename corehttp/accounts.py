"""Users and groups of the system by their names or numbers."""

import sys

_HIGHEST = 0xFFFFFFFE  # the highest number of a user or a group; the one after it stands for none (chown(2))


def user_id(name: str) -> int:
    """Return the number of a user, who need not exist if a number is given. Raises LookupError that names the user."""
    if name.isascii() and name.isdigit():
        return _number(name, "user")
    if sys.platform == "win32":
        raise NotImplementedError
    import pwd  # here, since few services need it

    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise LookupError(f"there is no user {name}") from None


def group_id(name: str) -> int:
    """Return the number of a group, which need not exist if a number is given. Raises LookupError that names it."""
    if name.isascii() and name.isdigit():
        return _number(name, "group")
    if sys.platform == "win32":
        raise NotImplementedError
    import grp  # here, since few services need it

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise LookupError(f"there is no group {name}") from None


def owner(text: str) -> tuple[int, int]:
    """Return the numbers of USER, USER:GROUP or :GROUP, -1 for what is not named. Raises LookupError."""
    user, _, group = text.partition(":")
    return (user_id(user) if user else -1, group_id(group) if group else -1)


def _number(digits: str, kind: str) -> int:
    """Return the number of a user or a group, as `kind` says. Raises LookupError for one that none can have."""
    if len(digits) > len(str(_HIGHEST)) or int(digits) > _HIGHEST:
        raise LookupError(f"there is no {kind} {digits}: the highest number is {_HIGHEST}")
    return int(digits)
