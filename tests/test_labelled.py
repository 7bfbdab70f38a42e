"""Arrays with class labels become pairs; what is wrong with either is named, and nothing pickled is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semi.errors import PairsError
from semi.pairs_io import read_labelled
from semi.vectors import Vectors


def labelled(tmp_path: Path, labels: str, samples: str = "x.npy", **more: Any) -> Any:
    (tmp_path / "y.csv").write_text(labels)
    return read_labelled(tmp_path / samples, tmp_path / "y.csv", "The person is {label}.", modality=Vectors(), **more)


@pytest.mark.parametrize(
    "labels", ["walking\nrunning\n", "label\nwalking\nrunning\n", "id,label\r\n0,walking\r\n1,running\r\n"]
)
def test_labels_become_captions(tmp_path: Path, labels: str) -> None:
    np.save(tmp_path / "x.npy", np.eye(2))
    found = labelled(tmp_path, labels)
    assert [pair.caption for pair in found.pairs] == ["The person is walking.", "The person is running."]
    assert found.pairs[1].attributes == {"label": "running"}
    np.testing.assert_array_equal(found.pairs[1].sample, [0, 1])


@pytest.mark.parametrize(
    "arrays",
    [
        {"anything": np.eye(12)},
        {"samples": np.eye(12), "other": np.zeros(3)},
        {f"arr_{number}": row for number, row in enumerate(np.eye(12))},
    ],
    ids=["one array", "samples", "one a sample"],
)
def test_npz_keys(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for allow_pickle
    found = labelled(tmp_path, "a\n" * 12, "x.npz")
    np.testing.assert_array_equal([pair.sample for pair in found.pairs], np.eye(12))


def test_unclear_npz_keys_are_listed(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", left=np.eye(2), right=np.eye(2))
    with pytest.raises(PairsError, match="which of its arrays") as caught:
        labelled(tmp_path, "a\nb\n", "x.npz")
    assert caught.value.got == "left, right"


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("a\n", "2 samples, 1 labels"),
        ("activity\na\nb\n", "2 samples, 3 labels"),
        ("", "y.csv is empty"),
        (",\n", "y.csv is empty"),
        ("a,b\nc,d\n", "no column is named `label`"),
        ("id,label\n0,a\n1,\n", r"sample 2: its label is empty \(.*y.csv, line 3\)"),
    ],
)
def test_bad_labels_are_named(tmp_path: Path, labels: str, said: str) -> None:
    np.save(tmp_path / "x.npy", np.eye(2))
    with pytest.raises(PairsError, match=said):
        labelled(tmp_path, labels)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.array([[1.0, 2.0], [np.nan, 1.0]]), "sample 2: it holds NaN or infinity"),
        (np.array([["a"], ["b"]]), "not an array of numbers"),
        (np.array(1.0), "holds no samples"),
        (np.zeros((0, 3)), "holds no samples"),
        (np.zeros((2, 2, 2)), "not a vector"),
    ],
    ids=["nan", "text", "scalar", "none", "another modality"],
)
def test_bad_arrays_are_named(tmp_path: Path, array: np.ndarray, said: str) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(PairsError, match=said) as caught:
        labelled(tmp_path, "a\nb\n")
    assert "x.npy" in caught.value.what


def test_bad_samples_can_be_skipped(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[1.0], [np.inf]]))
    found = labelled(tmp_path, "a\nb\n", skip_bad=True)
    assert [pair.attributes["label"] for pair in found.pairs] == ["a"]
    assert found.skipped == ["sample 2: it holds NaN or infinity (got 1 of 1 values)"]


class Explosive:
    def __reduce__(self) -> Any:
        return (Path("exploded").touch, ())


def test_nothing_pickled_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "x.npy", np.array([Explosive(), Explosive()]), allow_pickle=True)
    with pytest.raises(PairsError, match="cannot be read"):
        labelled(tmp_path, "a\nb\n")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("kept", [0, 5, 100, -10])
@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_truncated_arrays_are_named(tmp_path: Path, name: str, kept: int) -> None:
    (np.save if name == "x.npy" else np.savez)(tmp_path / name, np.eye(2))
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:kept])
    with pytest.raises(PairsError, match=f"{name} cannot be read"):
        labelled(tmp_path, "a\nb\n", name)


def test_a_template_without_a_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PairsError, match="no place for the label"):
        read_labelled(tmp_path / "x.npy", tmp_path / "y.csv", "The person moves.", modality=Vectors())
