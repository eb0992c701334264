"""Which directories are watched: those of the options, else those in which the application's code lies."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from corehttp.watching.places import named_directories, watched_directories


@pytest.fixture(autouse=True)
def import_path() -> Iterator[None]:
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return project


def test_the_current_directory_is_watched(project: Path) -> None:
    (project / "main.py").touch()
    assert watched_directories([], "main:app", "") == [str(project)]


def test_the_directory_of_the_application_is_watched_too(project: Path, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    assert watched_directories([], "main:app", str(tmp_path / "code")) == [str(tmp_path / "code"), str(project)]


def test_a_package_is_watched_where_a_symbolic_link_leads(project: Path, tmp_path: Path) -> None:
    (tmp_path / "source" / "linked_shop").mkdir(parents=True)
    (tmp_path / "source" / "linked_shop" / "__init__.py").touch()
    (project / "linked_shop").symlink_to(tmp_path / "source" / "linked_shop")
    found = watched_directories([], "linked_shop.web:app", "")
    assert set(found) == {str(project), str(tmp_path / "source" / "linked_shop")}


def test_a_package_is_watched_where_an_editable_install_has_it(project: Path, tmp_path: Path) -> None:
    (tmp_path / "src" / "editable_shop").mkdir(parents=True)
    (tmp_path / "src" / "editable_shop" / "__init__.py").touch()
    sys.path.append(str(tmp_path / "src"))  # as a .pth file has it
    assert str(tmp_path / "src" / "editable_shop") in watched_directories([], "editable_shop:app", "")


def test_all_installed_packages_are_not_watched_for_the_sake_of_one_module(project: Path, tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    site.mkdir()
    (site / "single_shop.py").touch()
    sys.path.append(str(site))
    assert watched_directories([], "single_shop:app", "") == [str(project)]


def test_the_root_directory_is_watched_only_if_there_is_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rooted_shop.py").touch()
    monkeypatch.chdir("/")
    assert watched_directories([], "rooted_shop:app", str(tmp_path)) == [str(tmp_path)]
    assert watched_directories([], "nowhere_to_be_found:app", "") == ["/"]


def test_directories_that_are_named_are_the_only_ones(project: Path) -> None:
    for name in ("a", "a/b", "c"):
        (project / name).mkdir()
    named = named_directories(["c", "a/b", "a", "*.html", "a"])
    assert set(watched_directories(named, "main:app", "")) == {str(project / "a"), str(project / "c")}


@pytest.mark.parametrize("app", ["nowhere_to_be_found:app", "sys:app", "..:app"])
def test_an_application_that_is_not_found_leaves_the_current_directory(project: Path, app: str) -> None:
    assert watched_directories([], app, "") == [str(project)]
