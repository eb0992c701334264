"""Changed files are found by looking at all of them."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from corehttp.watching.polling import LONGEST_BURST, MANY_QUIET, QUIET, Polling
from corehttp.watching.selection import Selection


@pytest.fixture
def main(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    (tmp_path / "main.py").write_text("1")
    (tmp_path / "shop" / "views.py").write_text("1")
    return tmp_path / "main.py"


def polling(*directories: Path) -> Polling:
    return Polling([str(directory) for directory in directories], Selection((), ()))


def write_in_place(path: Path) -> None:
    path.write_text("22")


def replace(path: Path) -> None:
    other = path.with_name(".main.py.swp")
    other.write_text("2")
    other.rename(path)


def rename(path: Path) -> None:
    path.rename(path.with_name("other.py"))


@pytest.mark.parametrize("act", [write_in_place, replace, rename, Path.unlink])
def test_a_file_that_was_written_replaced_renamed_or_removed_has_changed(
    main: Path, act: Callable[[Path], object]
) -> None:
    watch = polling(main.parent)
    assert watch.changed() == set()
    act(main)
    assert str(main) in watch.changed()
    assert watch.changed() == set()


def test_a_directory_that_is_moved_in_or_away_has_changed_files(main: Path) -> None:
    watch = polling(main.parent)
    (main.parent / "shop").rename(main.parent / "store")
    assert watch.changed() == {str(main.parent / "shop" / "views.py"), str(main.parent / "store" / "views.py")}


def test_files_that_do_not_count_do_not_change(main: Path) -> None:
    watch = polling(main.parent)
    for name in (".git", "node_modules", "__pycache__"):
        (main.parent / name).mkdir()
        (main.parent / name / "a.py").write_text("1")
    (main.parent / "notes.txt").write_text("1")
    assert watch.changed() == set()


def test_symbolic_links_are_followed_and_circles_end(main: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "library").mkdir()
    (elsewhere / "library" / "a.py").write_text("1")
    (elsewhere / "settings.py").write_text("1")
    (main.parent / "library").symlink_to(elsewhere / "library")
    (main.parent / "settings.py").symlink_to(elsewhere / "settings.py")
    (main.parent / "circle").symlink_to(main.parent)
    watch = polling(main.parent)
    (elsewhere / "library" / "a.py").write_text("22")
    (elsewhere / "settings.py").write_text("22")
    assert watch.changed() == {str(main.parent / "library" / "a.py"), str(main.parent / "settings.py")}


def test_a_directory_that_is_gone_has_no_files(main: Path, tmp_path: Path) -> None:
    watch = polling(main.parent / "shop")
    main.with_name("shop").rename(main.with_name("gone"))
    assert watch.changed() == {str(main.parent / "shop" / "views.py")}
    assert watch.changed() == set()


def test_files_are_told_that_changed_since_a_moment_but_none_of_the_future(main: Path) -> None:
    now = time.time()
    os.utime(main, (now - 60, now - 60))
    os.utime(main.parent / "shop" / "views.py", (now + 1e6, now + 1e6))
    (main.parent / "new.py").write_text("1")
    os.utime(main.parent / "new.py", (now - 5, now - 5))
    assert polling(main.parent).changed_since(now - 10) == {str(main.parent / "new.py")}


def test_a_burst_is_told_as_a_whole_when_it_is_over(main: Path) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if 1 < len(slept) < 5:  # after one look in vain
            (main.parent / f"{len(slept)}.py").write_text("1")

    found = polling(main.parent).wait(0.25, sleep)
    assert {Path(path).name for path in found} == {"2.py", "3.py", "4.py"}
    assert slept == [0.25, 0.25, QUIET, MANY_QUIET, MANY_QUIET]


def test_a_burst_without_an_end_is_told_after_a_while(main: Path) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        (main.parent / f"{len(slept)}.py").write_text("1")

    polling(main.parent).wait(0.0, sleep)
    assert sum(slept) == pytest.approx(LONGEST_BURST, abs=MANY_QUIET)


def test_a_glance_finds_nothing_or_a_whole_burst(main: Path) -> None:
    watch = polling(main.parent)
    assert watch.glance(lambda seconds: None) == set()
    main.write_text("22")
    assert watch.glance(lambda seconds: None) == {str(main)}


def test_one_file_of_which_the_system_has_told_is_told_at_once_and_of_several_more_may_follow(main: Path) -> None:
    watch = polling(main.parent)
    main.write_text("22")
    assert watch.burst(lambda seconds: pytest.fail("it waits")) == {str(main)}
    for name in ("a.py", "b.py"):
        (main.parent / name).write_text("")
    assert len(watch.burst(lambda seconds: (main.parent / "c.py").write_text(""))) == 3
