"""What `--log-config` takes: the path of a file, or in a program a dictionary for `logging.config.dictConfig`. Pure.

`Config` holds a dictionary as its text in JSON, so that it goes to each worker as all options do.
"""

from corehttp.option_kinds import FILE, OptionKind

_LONGEST = 1 << 16  # characters of a dictionary in JSON; a message to a worker has 16 times as many bytes at most


def is_dictionary(value: str) -> bool:
    """Whether a value of the option, as `Config` holds it, is a dictionary in JSON, not a path."""
    return value[:1] == "{" and value[-1:] == "}"


def path_of(value: str | None) -> str | None:
    """Return the path of the file that is to be read; None where there is none."""
    return None if value is None or is_dictionary(value) else value


def _parse(value: object) -> object:
    """Return a path, or a dictionary in JSON. Raises ValueError or TypeError for what is too long, or no JSON."""
    if not isinstance(value, dict):
        value = FILE.parse(value)
        if not is_dictionary(str(value)):
            return value
    import json  # here, since few services need it

    try:
        text = json.dumps(json.loads(value) if isinstance(value, str) else value, allow_nan=False)
    except RecursionError:
        raise ValueError from None
    if len(text) > _LONGEST:
        raise ValueError
    return text


LOG_CONFIG = OptionKind(
    _parse,
    "a path, or a dictionary for logging.config.dictConfig of at most 65,536 characters in JSON, in which a stream is "
    '"ext://sys.stdout", and a class or function its name, as in "myapp.logs.Formatter"',
    placeholder="PATH",
)
