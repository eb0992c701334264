"""The flags of another server: how they are written, and what becomes of each one here. Pure."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from corehttp.config import names
from corehttp.unknown_options import equal, instead

Options = dict[str, Any]  # options of ours by their names; the values as texts, truth values or lists of texts


class NoEqualError(Exception):
    """Nothing here does what a flag or setting does; the text says why, or what to use instead."""


class MigrationError(Exception):
    """What was given cannot be read as a command or file of another server; the text says why, with file and line."""


class Flag(NamedTuple):
    """A flag of another server."""

    names: tuple[str, ...]  # as its help shows them; none for a setting that only a file has
    takes_value: bool
    setting: str  # what a configuration file calls it; empty where there is none
    # Returns the options of ours for a value, an empty dictionary where none is needed; raises NoEqualError. None: the
    # flag has the name of an option of ours, or the table of `unknown_options` says what to use.
    convert: Callable[[str], Options] | None
    text: str  # what the documentation adds, or says where there is `convert`
    words: tuple[str, ...] = ()  # the values of which one may follow a flag that needs none

    @property
    def key(self) -> str:
        """The name by which options of ours, and lines of the table of `unknown_options`, are found."""
        return self.names[0] if self.names else self.setting

    @property
    def has_option(self) -> bool:
        """Whether there is an option of ours with that name."""
        return self.name in names()

    @property
    def name(self) -> str:
        """The name as the options of `Config` spell theirs."""
        return self.key.lstrip("-").replace("-", "_")

    @property
    def ours(self) -> str:
        """The name of our option that is the same; empty if there is none."""
        if self.has_option:
            return self.name
        return (equal(self.key) or equal(self.setting))[2:].replace("-", "_")

    @property
    def instead(self) -> str:
        """What to use where there is no such option."""
        return instead(self.key) or instead(self.setting)

    def options(self, value: str, *, switched: bool = True) -> Options:
        """Return the options of ours for this flag with a value, or for a switch; raises NoEqualError."""
        if self.convert is not None:
            return self.convert(value)
        if not self.ours:
            raise NoEqualError(self.instead or f"`corehttp {self.key}` does that")  # such as --help
        return {self.ours: value if self.takes_value else switched}


def value(*names: str, setting: str = "", convert: Callable[[str], Options] | None = None, text: str = "") -> Flag:
    """Return a flag with a value."""
    return Flag(names, True, setting, convert, text)


def switch(
    *names: str,
    setting: str = "",
    convert: Callable[[str], Options] | None = None,
    text: str = "",
    words: tuple[str, ...] = (),
) -> Flag:
    """Return a flag without a value, which one of `words` may follow as its value."""
    return Flag(names, False, setting, convert, text, words)


def needless(value: str) -> Options:
    """Convert a flag for which no option is needed, since corehttp does the same anyway."""
    return {}


def tls_version(given: str) -> Options:
    """Convert a protocol by its number in the module `ssl`, or its name there; NoEqualError for one below TLS 1.2."""
    word = given.strip().upper().removeprefix("PROTOCOL_").replace("TLSV", "TLS")
    if word in ("2", "17", "TLS", "TLS_SERVER", "SSLV23"):
        return {}
    if word in ("5", "TLS1_2"):
        return {"ssl_min_version": "1.2"}
    raise NoEqualError("use --ssl-min-version 1.2 or 1.3")


class Given(NamedTuple):
    """A flag as a command line has it."""

    words: str  # as it was written
    flag: Flag | None  # None: it is no flag of that server
    value: str
    switched: bool  # false for --no-FLAG


def read_words(words: Iterable[str], table: Iterable[Flag]) -> Iterator[Given | str]:
    """Yield what a command line says in its order: a flag of `table`, or a word that is none."""
    known = {name: flag for flag in table for name in flag.names}
    rest = deque(words)
    while rest:
        word = rest.popleft()
        if word == "--":
            yield from rest
            return
        elif word[:1] != "-" or word == "-":
            yield word
        else:
            name, text = _parted(word, known)
            flag = known.get(name)
            if flag is not None and text is None and (flag.takes_value or (rest and rest[0] in flag.words)):
                text = rest.popleft() if rest else ""
                word = f"{word} {text}"
            yield Given(word, flag, text or "", not name.startswith("--no-"))


def _parted(word: str, known: Iterable[str]) -> tuple[str, str | None]:
    """Return the name and the value of --name=value, -nVALUE or -n=VALUE; None for the value where there is none."""
    name, equals, text = word.partition("=")
    if name in known or word.startswith("--"):
        return name, text if equals else None
    return (word[:2], word[2:]) if word[:2] in known and len(word) > 2 else (word, None)
