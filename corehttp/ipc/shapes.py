"""What the values of a message's fields may be, which have come from another process. Pure."""

TEXT_LIMIT = 1 << 16  # the most characters of a text that a message carries


def is_text(value: object) -> bool:
    """Whether it is text of at most TEXT_LIMIT characters, none of them a lone surrogate."""
    return isinstance(value, str) and len(value) <= TEXT_LIMIT and not any("\ud800" <= c <= "\udfff" for c in value)


def is_pid(value: object) -> bool:
    """Whether it can be the id of a process."""
    return type(value) is int and 1 < value < 1 << 31


def is_whole(value: object) -> bool:
    """Whether it is a whole number, 0 or more."""
    return type(value) is int and value >= 0


def is_table(value: object) -> bool:
    """Whether it is a dict, whose keys `codec` has made text."""
    return isinstance(value, dict)


def is_path(value: object) -> bool:
    """Whether it can be a path, which may be no valid Unicode."""
    return isinstance(value, str)


def are_paths(value: object) -> bool:
    """Whether it is a list of what can be paths."""
    return isinstance(value, list) and all(map(is_path, value))


def are_numbers(value: object) -> bool:
    """Whether it is a tuple of whole numbers, 0 or more."""
    return isinstance(value, tuple) and all(map(is_whole, value))
