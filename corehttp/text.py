"""Text from others, as a log line can show it."""


def printable(text: str) -> str:
    """The text with its control characters escaped, so that it can neither end a line nor steer a terminal."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def shown(value: object) -> str:
    """Its `repr`, or that of any object where its own raises."""
    try:
        return repr(value)
    except Exception:
        return object.__repr__(value)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "surrogatepass").decode()
