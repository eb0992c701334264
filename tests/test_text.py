"""Text from others: in paths and in log lines."""

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as some

from corehttp.text import printable, shown, unquoted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/a path/\u00e4", "/a path/\u00e4"),
        ("/a\n2026 INFO forged", "/a\\n2026 INFO forged"),
        ("/\x1b[31m\x7f\x00", "/\\x1b[31m\\x7f\\x00"),
        ("/\u2028\u202e", "/\\u2028\\u202e"),
        ("/\udcff", "/\\udcff"),
    ],
)
def test_nothing_in_it_can_end_the_line_or_steer_a_terminal(text: str, expected: str) -> None:
    assert printable(text) == expected


class Mute:
    def __repr__(self) -> str:
        raise ValueError


def test_whatever_an_object_is_it_can_be_shown() -> None:
    assert shown([1, "a"]) == "[1, 'a']"
    assert "Mute object" in shown(Mute())


@given(
    some.lists(
        some.sampled_from(
            ["%", "a", "4", "/", "%41", "%c3%A9", "%E2", "%82%AC", "%zz", "%ff", "%2", "%25", "%ED%A0%80"]
        )
    )
)
def test_a_path_is_decoded_as_the_standard_library_does(pieces: list[str]) -> None:
    path = "".join(pieces)
    assert unquoted(path) == unquote(path)
