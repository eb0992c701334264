"""Plain arguments are read as click reads them, and all others are left to click."""

from typing import Any

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corehttp.arguments import read_plain
from corehttp.command import command
from corehttp.config import options

FLAGS = [flag for entry in options() for flag in (entry.flag, f"--no-{entry.flag[2:]}")]
WORDS = st.one_of(
    st.sampled_from(["", "main:app", "list", "--", "-", "-h", "--help", "--version", "--prot", "-1", "0", "a:b", "é"]),
    st.sampled_from(FLAGS),
    st.builds("{}={}".format, st.sampled_from(FLAGS), st.sampled_from(["", "1", "-1", "a=b"])),
    st.text(max_size=4),
)


def by_click(words: list[str]) -> dict[str, Any] | None:
    """What the whole command would be called with; None for what ends it before."""
    whole = command()
    try:
        flags = whole.make_context("corehttp", list(words)).params
    except (click.ClickException, click.exceptions.Exit):
        return None
    return {name: value for name, value in flags.items() if value is not None and value != ()}


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=6))
def test_what_is_read_without_click_is_what_click_reads(words: list[str]) -> None:
    plain = read_plain(words)
    if plain is not None:
        assert plain == by_click(words)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["main:app"],
        ["main:app", "--port", "80"],
        ["--port=80", "--no-access-log", "main:app", "--preload"],
        ["--header", "a:b", "main:app", "--header=c:d", "--preload", "--no-preload", "--port", "1", "--port", "2"],
        ["--root-path", "", "main:app", "--workers="],
    ],
)
def test_usual_arguments_are_read_without_click(words: list[str]) -> None:
    plain = read_plain(words)
    assert plain is not None
    assert plain == by_click(words)


@pytest.mark.parametrize(
    "words",
    [
        *(
            ["--help"],
            ["-h"],
            ["--version"],
            ["main:app", "other:app"],
            ["--prot", "1"],
            ["-w", "4"],
            ["--", "main:app"],
        ),
        *(["--port"], ["--port", "-1"], ["--preload=yes"], ["main:app", "--no-port"], ["--port", "1", "list"], ["-"]),
    ],
)
def test_the_rest_is_left_to_click(words: list[str]) -> None:
    assert read_plain(words) is None
