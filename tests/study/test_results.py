"""Lines are whole on the disk, and what a kill cut short was never there."""

from __future__ import annotations

import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semi.errors import ArtifactError
from semi.study.results import FILE, Results


def line(seed: int, **more: object) -> dict[str, object]:
    return {"cell": {"target": "é\n", "seed": seed}, "meaning": {}, **more}


@given(st.data())
def test_whatever_is_cut_off_the_end_the_whole_lines_are_there_and_go_on(data: st.DataObject) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        Results(folder).append([line(seed, loss=seed / 7) for seed in range(4)])
        whole = (folder / FILE).read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        (folder / FILE).write_bytes(whole[:cut])
        results = Results(folder)
        kept = whole[:cut].count(b"\n")
        assert [results.get(line(seed)["cell"]) is not None for seed in range(4)] == [seed < kept for seed in range(4)]
        results.append([line(seed, loss=seed / 7) for seed in range(kept, 4)])
        assert (folder / FILE).read_bytes() == whole


def test_the_last_line_of_a_cell_counts_and_one_that_failed_is_not_done(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.append([line(0, error="no"), line(1, left_out="why")])
    for found in (results, Results(tmp_path)):
        assert not found.done(line(0)["cell"])
        assert found.done(line(1)["cell"])
        assert not found.done(line(2)["cell"])
    results.append([line(0, loss=1.0)])
    assert Results(tmp_path).done(line(0)["cell"])


def test_cells_are_forgotten_in_the_file_too(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.append([line(seed) for seed in range(3)])
    results.drop([line(1)["cell"], line(9)["cell"]])
    results.append([line(5)])
    seeds = [json.loads(text)["cell"]["seed"] for text in (tmp_path / FILE).read_text().splitlines()]
    assert seeds == [0, 2, 5]


@pytest.mark.parametrize("bad", ["{", "[]", '{"loss": 1}', '{"cell": 3}'])
def test_a_damaged_line_before_the_last_is_named(tmp_path: Path, bad: str) -> None:
    (tmp_path / FILE).write_text(f"{json.dumps(line(0))}\n{bad}\n{json.dumps(line(1))}\n")
    with pytest.raises(ArtifactError, match="line 2"):
        Results(tmp_path)


def test_what_json_cannot_hold_is_not_written(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.append([line(0)])
    with pytest.raises(ValueError, match="JSON"):
        results.append([line(1, loss=math.nan)])
    assert not Results(tmp_path).done(line(1)["cell"])


def test_what_is_mended_has_whole_lines_alone(tmp_path: Path) -> None:
    Results(tmp_path).mend()
    assert not (tmp_path / FILE).exists()  # there is nothing to mend
    Results(tmp_path).append([line(1)])
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole + b'{"cell": {"target"')
    Results(tmp_path).mend()
    assert (tmp_path / FILE).read_bytes() == whole
