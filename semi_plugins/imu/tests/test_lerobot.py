"""LeRobot data sets of both layouts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from semi.errors import InputError, PairsError

from semi_plugin_imu.modality import Imu
from semi_plugin_imu.sources.reading import read_sample

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
NAMES = ["ax", "ay", "az", "gx", "gy", "gz"]


@pytest.fixture(params=["v2.1", "v3.0"])
def dataset(request: pytest.FixtureRequest, movement: np.ndarray, tmp_path: Path) -> Path:
    """Two episodes; the second is the movement."""
    episodes = [movement[::-1], movement]
    tables = [
        pyarrow.table(
            {
                "observation.imu": values.tolist(),
                "timestamp": pyarrow.array(np.arange(len(values)) / 50, pyarrow.float32()),
                "episode_index": [number] * len(values),
            }
        )
        for number, values in enumerate(episodes)
    ]
    features = {"observation.imu": {"dtype": "float64", "shape": [6], "names": NAMES}}
    info: dict[str, Any] = {"fps": 50, "features": features, "total_episodes": 2, "chunks_size": 1000}
    (tmp_path / "data" / "chunk-000").mkdir(parents=True)
    if request.param == "v2.1":
        info["data_path"] = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
        for number, table in enumerate(tables):
            parquet.write_table(table, tmp_path / "data" / "chunk-000" / f"episode_{number:06d}.parquet")
    else:
        info["data_path"] = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        parquet.write_table(pyarrow.concat_tables(tables), tmp_path / "data" / "chunk-000" / "file-000.parquet")
        (tmp_path / "meta" / "episodes" / "chunk-000").mkdir(parents=True)
        places = {"episode_index": [0, 1], "data/chunk_index": [0, 0], "data/file_index": [0, 0]}
        parquet.write_table(pyarrow.table(places), tmp_path / "meta" / "episodes" / "chunk-000" / "file-000.parquet")
    (tmp_path / "meta").mkdir(exist_ok=True)
    (tmp_path / "meta" / "info.json").write_text(json.dumps(info))
    return tmp_path


def sample(dataset: Path, **more: Any) -> dict[str, Any]:
    return {"lerobot": str(dataset), "episode": 1, "feature": "observation.imu", "units": "SI", **more}


def test_an_episode_gives_the_embedding_of_the_array(dataset: Path, movement: np.ndarray) -> None:
    encoder = Imu().encoder("statistics")
    of_array = {"data": movement, "rate": 50, "units": "SI"}
    np.testing.assert_array_equal(
        encoder.encode([Imu().parse(sample(dataset))]), encoder.encode([Imu().parse(of_array)])
    )
    part = read_sample(sample(dataset, start=1.0, duration=2.0))
    np.testing.assert_array_equal(part.both("test"), movement[50:150].astype(np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"episode": 2}, "episode"),
        ({"episode": None}, "which episode"),
        ({"feature": "observation.state"}, "no feature of that name"),
        ({"units": {}}, "unit of the acceleration is not known"),
        ({"rate": 50}, "no key 'rate'"),
    ],
    ids=str,
)
def test_what_is_not_there_is_named(dataset: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(PairsError, match=message):
        read_sample(sample(dataset, **change))


def test_the_folder_alone_says_too_little(dataset: Path) -> None:
    with pytest.raises(PairsError, match="which episode and feature"):
        read_sample(dataset)


def test_columns_without_names_are_declared(dataset: Path, movement: np.ndarray) -> None:
    path = dataset / "meta" / "info.json"
    path.write_text(
        path.read_text().replace('"ax"', '"imu_0"').replace(json.dumps(NAMES[1:])[1:-1], '"a","b","c","d","e"')
    )
    columns = ["gx", "gy", "gz", "ax", "ay", "az"]
    swapped = read_sample(sample(dataset, columns=columns)).both("test")
    np.testing.assert_array_equal(swapped, np.roll(movement, 3, axis=1).astype(np.float32))


def test_without_pyarrow_the_extra_is_named(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(InputError) as error:
        Imu().parse(sample(dataset))
    assert "pip install 'semi-plugin-imu[lerobot]'" in str(error.value)
