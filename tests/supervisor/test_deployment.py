"""Where a service was started, and where that name leads later."""

import os
from pathlib import Path

import pytest

from corehttp.errors import ConfigError
from corehttp.supervisor.deployment import Deployment, Release, change_directory, enter, start_directory


@pytest.fixture
def current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A link to the first of two releases, which is the current directory by that name."""
    for release in ("one", "two"):
        (tmp_path / release / "src").mkdir(parents=True)
    link = tmp_path / "current"
    link.symlink_to("one")
    monkeypatch.chdir(link)
    monkeypatch.setenv("PWD", str(link))
    return link


def switch(link: Path) -> None:
    link.unlink()
    link.symlink_to("two")


@pytest.mark.parametrize("app_dir", ["", "src", "absolute"])
def test_names_lead_where_they_lead_now(current: Path, app_dir: str) -> None:
    given = str(current / "src") if app_dir == "absolute" else app_dir
    below = "src" if app_dir else ""
    deployment = Deployment()
    for release in ("one", "two"):
        directory = str(current.parent / release)
        assert deployment.current_release(given) == Release(directory, os.path.join(directory, below).rstrip("/"))
        assert deployment.current_release(given).exists
        switch(current)


@pytest.mark.parametrize("name", ["", "two", "nowhere", "../current"])
def test_a_pwd_that_names_another_place_is_not_believed(
    current: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PWD", name and name if name.startswith("..") else str(current.parent / name))
    assert Deployment().start == str(current.parent / "one")


def test_a_directory_that_is_gone(current: Path) -> None:
    deployment = Deployment()
    release = deployment.current_release("")
    current.unlink()
    (current.parent / "one").rename(current.parent / "elsewhere")
    assert not release.exists
    with pytest.raises(ConfigError, match=f"the directory {current}, in which the service was started, is gone"):
        deployment.current_release("src")
    # What stands for itself does not need it.
    two = str(current.parent / "two")
    assert deployment.current_release(two) == Release(two, two)


def test_the_import_path_follows_but_for_the_environment(current: Path) -> None:
    one, two = str(current.parent / "one"), str(current.parent / "two")
    deployment = Deployment()
    path = [one, f"{one}/src", f"{one}/.venv/lib", "/usr/lib/python", f"{one}-more", "", "lib"]
    keep = [f"{one}/.venv"]
    assert deployment.import_path(path, deployment.current_release(""), keep) == path
    switch(current)
    after = deployment.import_path(path, deployment.current_release(""), keep)
    assert after == [two, f"{two}/src", f"{one}/.venv/lib", "/usr/lib/python", f"{one}-more", "", "lib"]


def test_a_visit_ends_where_it_began(current: Path) -> None:
    deployment = Deployment()
    switch(current)
    with deployment.entered():
        assert os.getcwd() == str(current.parent / "two")
    assert os.getcwd() == str(current.parent / "one")
    enter(str(current.parent / "two"))
    assert os.getcwd() == str(current.parent / "two")


def test_without_a_current_directory_nothing_can_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match="the current directory is gone"):
        Deployment()


@pytest.mark.parametrize("name", ["../current/src", "{}/current/src", "src/../src"])
def test_a_directory_that_is_changed_to_keeps_its_name(current: Path, name: str) -> None:
    origin = start_directory()
    for _ in range(2):  # a second time leads to the same place
        change_directory(name.format(current.parent), origin)
        assert start_directory() == str(current / "src")
    deployment = Deployment(origin)
    switch(current)
    assert deployment.current_release("").directory == str(current.parent / "two" / "src")
    with deployment.entered():
        assert os.getcwd() == str(current.parent / "two")
    assert os.getcwd() == str(current.parent / "one" / "src")


def test_a_directory_that_cannot_be_changed_to_is_named(current: Path) -> None:
    with pytest.raises(
        ConfigError, match=rf"^chdir: {current}/missing cannot be entered \(No such file or directory\)"
    ):
        change_directory("missing", str(current))


def test_an_upgrade_starts_in_the_other_directory_where_the_first_one_is_closed(
    current: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, change = str(current.parent / "closed"), os.chdir

    def chdir(path: str) -> None:
        if path == closed:
            raise PermissionError
        change(path)

    change_directory(str(current.parent / "two"), str(current))
    deployment = Deployment(closed)
    change("/")
    monkeypatch.setattr(os, "chdir", chdir)
    with deployment.entered():
        assert os.getcwd() == str(current.parent / "two")
