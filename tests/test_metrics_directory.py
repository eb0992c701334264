"""The directory of --prometheus-multiproc: made, wiped, and nobody else's."""

import os
from pathlib import Path

import pytest

from corehttp.errors import StartupError
from corehttp.metrics_directory import prepare

OLD = ("counter_7.db", "gauge_livesum_7.db", "histogram_0.db", "counter_0.db.new", "merging.json")


def test_it_is_made_with_what_leads_to_it_and_is_the_users_own(tmp_path: Path) -> None:
    prepare(str(tmp_path / "run" / "metrics"), wipe=True)
    assert (tmp_path / "run" / "metrics").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("wipe", [True, False])
def test_what_an_earlier_service_has_left_is_removed_and_nothing_else(tmp_path: Path, wipe: bool) -> None:
    for name in (*OLD, "notes.txt", "counter_x.db"):
        (tmp_path / name).write_text("")
    (tmp_path / "counter_8.db").mkdir()
    tmp_path.chmod(0o755)
    prepare(str(tmp_path), wipe=wipe)
    kept = {"notes.txt", "counter_x.db", "counter_8.db"}
    assert set(os.listdir(tmp_path)) == (kept if wipe else {*kept, *OLD})


def test_one_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(StartupError, match="nobody else may write to it"):
        prepare(str(tmp_path), wipe=True)


def test_a_symbolic_link_and_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(StartupError, match="is no directory that this user may write to"):
        prepare(str(tmp_path / "link"), wipe=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match="cannot be used: "):
        prepare(str(tmp_path / "file"), wipe=True)
