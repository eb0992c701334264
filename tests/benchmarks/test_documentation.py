"""The figures in the documentation are those of the recorded runs."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.lib.recorded import DIRECTORY, GROUPS, plot_name, recorded
from benchmarks.lib.suite import SUITE
from benchmarks.tables import full_figures, short_figures, with_figures

ROOT = DIRECTORY.parent.parent


def test_the_figures_of_the_documentation_are_those_of_the_recorded_runs() -> None:
    text = Path(ROOT, "docs", "benchmarks.md").read_text()
    assert with_figures(text, full_figures(recorded())) == text, "run `python -m benchmarks.tables`"


def test_the_figures_of_the_readme_are_those_of_the_recorded_runs() -> None:
    text = Path(ROOT, "README.md").read_text()
    assert with_figures(text, short_figures(recorded())) == text, "run `python -m benchmarks.tables`"


def test_the_plots_are_drawn_from_the_recorded_runs() -> None:
    for run in recorded():
        for group in GROUPS:
            if run.group(group):
                drawn = Path(DIRECTORY, plot_name(run, group)).read_text()
                assert run.digest in drawn, f"{plot_name(run, group)}: run `python -m benchmarks.plot`"


def test_every_plot_in_the_documentation_exists_and_no_other() -> None:
    named = set(re.findall(r"\(benchmarks/([^)]+\.svg)\)", Path(ROOT, "docs", "benchmarks.md").read_text()))
    assert named == {path.name for path in DIRECTORY.glob("*.svg")}


def test_a_recorded_run_says_when_and_on_what_it_was_taken_and_nothing_of_directories() -> None:
    runs = recorded()
    assert runs
    for run in runs:
        assert {"date", "command", "pace", "seed", "load_average", "versions"} <= run.figures.keys()
        assert {"machine", "kernel", "python", "corehttp", "uvicorn"} <= run.figures["versions"].keys()
        for section in run.figures["sections"]:
            assert {"date", "load_average", "commands", "load_command"} <= section.keys()
        assert not re.search(r"/(root|home|tmp|work)/", json.dumps(run.figures))


def test_every_section_of_the_suite_is_plotted_and_named_in_the_documentation() -> None:
    names = [section.name for section in SUITE]
    assert names == [name for names_of_group in GROUPS.values() for name in names_of_group]
    text = Path(ROOT, "docs", "benchmarks.md").read_text().partition("## 2.")[0]
    for name in names:
        known = "websocket-BYTES-CONNECTIONS" if name.startswith("websocket-") else name
        assert f"`{known}`" in text


def test_a_document_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the marks"):
        with_figures("no marks", "figures")
