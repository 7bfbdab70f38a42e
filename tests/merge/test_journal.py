"""Lines that outlast the run: whole ones come back, one that was cut short does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from semi.errors import OutputError
from semi.merge.journal import Journal


def test_lines_come_back_and_go_on(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.add({"a": 1}, {"b": [0.1, 1e300]})
    with Journal(tmp_path / "j") as journal:
        assert journal.lines == [{"a": 1}, {"b": [0.1, 1e300]}]
        journal.add({"c": None})
    with Journal(tmp_path / "j") as journal:
        assert journal.lines[-1] == {"c": None}


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_line_that_was_cut_short_is_forgotten(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.add({"a": 1}, {"b": 2})
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path) as journal:
        assert journal.lines == [{"a": 1}]
        journal.add({"b": 3})
    with Journal(path) as journal:
        assert journal.lines == [{"a": 1}, {"b": 3}]


def test_what_is_cleared_is_gone(tmp_path: Path) -> None:
    with Journal(tmp_path / "j") as journal:
        journal.add({"a": 1})
        journal.clear()
        journal.add({"b": 2})
    with Journal(tmp_path / "j") as journal:
        assert journal.lines == [{"b": 2}]


def test_a_journal_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        Journal(tmp_path / "nowhere" / "j")
