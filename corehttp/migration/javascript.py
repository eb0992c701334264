"""The object that a JavaScript or JSON file exports, read without being run: it is a program. Pure."""

import re
from typing import Any

DEPTH = 32  # objects within objects that are read

_EXPORT = re.compile(r"\bmodule\.exports\s*=|\bexport\s+default\b")
_SPACE = re.compile(r"(?:\s+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r"""'((?:[^'\\\n]|\\.)*)'|"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\$]|\\.|\$(?!\{))*)`""", re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9_]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.])")
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_WORDS = {"true": True, "false": False, "null": None, "undefined": None}
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(\n)|(.))", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0"}
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class Expression(str):
    """A value that only the running program knows: its text."""

    __slots__ = ()


def exported(text: str) -> Any:
    """Return what a file exports, or the only value of a JSON file: dictionaries, lists, texts, numbers, truth values.

    Raises ValueError if no object can be found, or it is not well-formed.
    """
    export = _EXPORT.search(text)
    return _Reader(text, export.end() if export else 0).value(0)


class _Reader:
    """Reads one value from a text, from `at` on."""

    def __init__(self, text: str, at: int) -> None:
        self._text = text
        self._at = at

    def value(self, depth: int) -> Any:
        """Return the next value; raises ValueError."""
        if depth > DEPTH:
            raise ValueError(f"it has more than {DEPTH} objects within each other")
        begin = self._at
        match self._next():
            case "{":
                found: Any = self._object(depth)
            case "[":
                found = self._array(depth)
            case _:
                found = self._plain()
        if self._next() in (",", "}", "]", ";", ""):
            return found
        if depth == 0:
            return found
        self._at = begin
        return self._expression()

    def _object(self, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        self._at += 1
        while self._next() != "}":
            if self._text.startswith("...", self._at):
                members[str(self._expression())] = Expression("...")
            else:
                key = self._key()
                if self._next() == ":":
                    self._at += 1
                    members[key] = self.value(depth + 1)
                else:
                    members[key] = Expression(key)
            self._part("}")
        self._at += 1
        return members

    def _array(self, depth: int) -> list[Any]:
        elements = []
        self._at += 1
        while self._next() != "]":
            elements.append(self.value(depth + 1))
            self._part("]")
        self._at += 1
        return elements

    def _plain(self) -> Any:
        """Return a text, a number or a word; None, and nothing is read, for anything else."""
        if (string := _STRING.match(self._text, self._at)) is not None:
            self._at = string.end()
            return _unescaped(next(part for part in string.groups() if part is not None))
        if (number := _NUMBER.match(self._text, self._at)) is not None:
            self._at = number.end()
            digits = number[0].replace("_", "")
            return int(digits) if digits.lstrip("-").isdigit() else float(digits)
        if (word := _WORD.match(self._text, self._at)) is not None and word[0] in _WORDS:
            self._at = word.end()
            return _WORDS[word[0]]
        return None

    def _key(self) -> str:
        """Return the key of a member; raises ValueError."""
        found = _STRING.match(self._text, self._at) or _WORD.match(self._text, self._at)
        if found is None:
            raise self._fault()
        self._at = found.end()
        return next((_unescaped(part) for part in found.groups() if part is not None), found[0])

    def _expression(self) -> Expression:
        """Return the text up to the comma or bracket that ends an expression; raises ValueError."""
        self._next()
        begin = self._at
        open_brackets: list[str] = []
        while self._at < len(self._text):
            character = self._text[self._at]
            if character in "'\"`":
                self._pass_string()
                continue
            if not open_brackets and character in ",}]":
                return Expression(" ".join(self._text[begin : self._at].split()))
            if character in _CLOSING:
                open_brackets.append(_CLOSING[character])
            elif open_brackets and character == open_brackets[-1]:
                open_brackets.pop()
            self._at += 1
        raise self._fault()

    def _pass_string(self) -> None:
        """Pass over a text; one with `${}`, whose parts only the program knows, ends at the next backtick."""
        string = _STRING.match(self._text, self._at)
        end = self._text.find("`", self._at + 1) + 1 if string is None and self._text[self._at] == "`" else 0
        if string is None and not end:
            raise self._fault()
        self._at = end if string is None else string.end()

    def _part(self, end: str) -> None:
        """Pass over the comma between two members; raises ValueError if there is neither that nor the end."""
        if self._next() == ",":
            self._at += 1
        elif self._next() != end:
            raise self._fault()

    def _next(self) -> str:
        """Return the next character behind space and comments; empty at the end."""
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        return self._text[self._at : self._at + 1]

    def _fault(self) -> ValueError:
        line = self._text.count("\n", 0, self._at) + 1
        return ValueError(f"line {line}: {self._text[self._at : self._at + 20]!r} is not understood")


def _unescaped(text: str) -> str:
    def meant(escape: re.Match[str]) -> str:
        if escape[1]:
            return chr(int(escape[1], 16))
        return "" if escape[2] else _ESCAPES.get(escape[3], escape[3])

    # A character beyond U+FFFF is escaped as two surrogates.
    return _ESCAPE.sub(meant, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
