"""Tables of stamps and values, and what is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from semi.errors import InputError, PairsError
from semi.modality import Encoder, Modality
from semi.streams.sources import open_source
from semi.vectors import Vectors

STAMPS = st.lists(st.integers(0, 2**62), min_size=1, max_size=20)
NUMBERS = st.floats(allow_nan=True, allow_infinity=False)


def same(source: Iterator[tuple[int, np.ndarray]], stamps: list[int], values: np.ndarray) -> None:
    found = list(source)
    assert [stamp for stamp, _ in found] == stamps
    np.testing.assert_array_equal(np.stack([sample for _, sample in found]), values)


@given(data=st.data(), stamps=STAMPS, channels=st.integers(1, 4), seconds=st.booleans())
def test_a_table_gives_every_stamp_and_number_that_was_written(
    data: st.DataObject, stamps: list[int], channels: int, seconds: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """To the ns, also where stamps are written in seconds."""
    values = data.draw(arrays.arrays(np.float64, (len(stamps), channels), elements=NUMBERS))
    folder = tmp_path_factory.mktemp("tables")
    np.savez(folder / "a.npz", stamps=stamps, values=values)
    place = data.draw(st.integers(0, channels))
    lines = []
    for stamp, row in zip(stamps, values.tolist(), strict=True):
        written = f"{stamp // 10**9}.{stamp % 10**9:09d}" if seconds else str(stamp)
        cells = ["" if np.isnan(number) else repr(number) for number in row]
        lines.append([*cells[:place], written, *cells[place:]])
    header = [f"channel {i}" for i in range(channels)]
    header.insert(place, "time" if seconds else "stamp_ns")
    (folder / "a.csv").write_text("".join(",".join(row) + "\n" for row in [header, *lines]))
    for name in ("a.npz", "a.csv"):
        same(open_source(folder / name, Vectors()), stamps, values)


TEXTS = {
    "": "no stamps or no values",
    "ax,ay\n1,2\n": "no stamps or no values",
    "time\n1\n": "no stamps or no values",
    "time,stamp_ns,ax\n1,2,3\n": "no stamps or no values",
    "time,ax\n": "holds no samples",
    "time,ax\n1,2,3\n": "line 2 of .* another number of cells",
    "time,ax\n\n,3\n": "line 3 of .* something else than numbers",
    "time,ax\nsoon,3\n": "line 2 of .* something else than numbers",
    "time,ax\ninf,3\n": "line 2 of .* something else than numbers",
    "time,ax\n1,fast\n": "line 2 of .* something else than numbers",
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_bad_table_is_refused_by_its_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(PairsError, match=TEXTS[text]) as error:
        open_source(tmp_path / "bad.csv", Vectors())
    assert "bad.csv" in str(error.value)


ARRAYS: dict[str, dict[str, Any]] = {
    "no stamps": {"values": np.zeros((2, 3))},
    "float stamps": {"stamps": [0.0, 1.0], "values": np.zeros((2, 3))},
    "lengths": {"stamps": [0, 1, 2], "values": np.zeros((2, 3))},
    "flat values": {"stamps": [0, 1], "values": np.zeros(2)},
    "text": {"stamps": [0, 1], "values": [["a"], ["b"]]},
    "empty": {"stamps": np.zeros(0, int), "values": np.zeros((0, 3))},
}


@pytest.mark.parametrize("case", ARRAYS)
def test_bad_arrays_are_refused(case: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", **ARRAYS[case])
    with pytest.raises(PairsError, match=r"bad\.npz"):
        open_source(tmp_path / "bad.npz", Vectors())


@pytest.mark.parametrize("name", ["gone.csv", "gone.npz", "damaged.npz", "bytes.csv"])
def test_missing_and_damaged_files_are_named(name: str, tmp_path: Path) -> None:
    if not name.startswith("gone"):
        (tmp_path / name).write_bytes(b"\xff\xfenothing of the kind")
    with pytest.raises(PairsError, match=name):
        open_source(tmp_path / name, Vectors())


class Sonar(Modality):
    """One that reads recordings of its own."""

    name = "sonar"
    instruction = "Describe this echo."

    def encoder(self, name: str | None = None) -> Encoder:
        raise NotImplementedError

    def samples(self, path: Path, topic: str | None = None) -> Iterator[tuple[int, np.ndarray]]:
        return iter([(3, np.array([len(topic or "")]))])


def test_other_files_are_the_modalitys(tmp_path: Path) -> None:
    ((stamp, sample),) = open_source(tmp_path / "dive.log", Sonar(), topic="left")
    assert (stamp, sample.tolist()) == (3, [4])
    with pytest.raises(InputError, match="modality vectors reads no recordings") as error:
        open_source(tmp_path / "dive.log", Vectors())
    assert ".csv, .npz" in str(error.value)


def test_a_table_has_no_topics(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no topics"):
        open_source(tmp_path / "dive.csv", Sonar(), topic="left")


def test_a_modality_that_is_no_stream_says_so() -> None:
    with pytest.raises(InputError, match="modality sonar cannot be streamed"):
        Sonar().window(np.zeros((4, 1)), 50.0)
