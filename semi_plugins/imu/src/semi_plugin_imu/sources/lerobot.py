"""LeRobot data sets: a folder with meta/info.json and Parquet files, versions 2.x and 3.0."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from semi.errors import InputError, PairsError

from semi_plugin_imu.recording import Recording
from semi_plugin_imu.sources.table import NAMES, Declared, named, recording

INFO = Path("meta", "info.json")


def is_lerobot(path: Path) -> bool:
    """Whether the folder is such a data set."""
    return (path / INFO).is_file()


def read_lerobot(folder: Path, episode: int, feature: str, declared: Declared) -> Recording:
    """A window of one feature of one episode, at the frame rate of the data set.

    Axes are known by the feature's names in info.json ("ax", ...), else by what is declared. Units never stand in such
    a data set and must be declared.

    Args:
        folder: the data set.
        episode: its index.
        feature: e.g. "observation.imu".
        declared: units, names of the columns, window.

    Raises:
        InputError: pyarrow is not installed.
        PairsError: not such a data set, no such episode or feature, or what `recording` refuses.
    """
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise InputError(
            "LeRobot data sets are read by the package pyarrow, which is not installed",
            got=error,
            do="pip install 'semi-plugin-imu[lerobot]'",
        ) from error
    try:
        info: dict[str, Any] = json.loads((folder / INFO).read_text("utf-8"))
        fps, features, pattern = float(info["fps"]), dict(info["features"]), str(info["data_path"])
        if feature not in features:
            expected = f"one of {', '.join(sorted(features))}"
            raise PairsError(f"{folder} has no feature of that name", got=feature, expected=expected)
        file = folder / pattern.format(**_place(parquet, folder, info, episode))
        table = parquet.read_table(
            file, columns=[feature, "timestamp"], filters=[("episode_index", "==", episode)], partitioning=None
        )
        values = np.array(table[feature].to_pylist(), np.float64)
        time = np.array(table["timestamp"].to_pylist(), np.float64).reshape(-1)
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:  # pyarrow's errors are among these
        got = f"{type(error).__name__}: {error}"
        expected = "meta/info.json and the Parquet files that it names, of LeRobot 2 or 3"
        raise PairsError(f"episode {episode} of {folder} cannot be read", got=got, expected=expected) from error
    if not len(values):
        raise PairsError(f"{folder} has no such episode", got=episode)
    if declared.columns is None:
        declared = replace(declared, columns=_names(features[feature]))
    columns = named(values, declared)
    # Frames are numbered evenly; the time stamps, float32, show it only roughly after some hours.
    columns.pop("time", None)
    if abs((time[-1] - time[0]) * fps - (len(time) - 1)) > 1:
        raise PairsError(
            f"episode {episode} of {folder} lacks frames", got=f"{len(time)} in {time[-1] - time[0]:.3f} s"
        )
    return recording(columns, replace(declared, rate=fps))


def _place(parquet: Any, folder: Path, info: dict[str, Any], episode: int) -> dict[str, int]:
    """What goes into `data_path`: by arithmetic in version 2, by the table of episodes in version 3."""
    if "episode_chunk" in info["data_path"]:
        return {"episode_chunk": episode // int(info["chunks_size"]), "episode_index": episode}
    places = ["data/chunk_index", "data/file_index"]
    for file in sorted((folder / "meta" / "episodes").rglob("*.parquet")):
        found = parquet.read_table(file, columns=places, filters=[("episode_index", "==", episode)], partitioning=None)
        if len(found):
            chunk, number = (int(found[place][0].as_py()) for place in places)
            return {"chunk_index": chunk, "file_index": number}
    raise PairsError(f"{folder} has no such episode", got=episode, expected=f"0 to {info.get('total_episodes', 0) - 1}")


def _names(described: dict[str, Any]) -> tuple[str | None, ...] | None:
    """The feature's own names for its columns, if they are ours."""
    names = described.get("names")
    if isinstance(names, dict):  # {"axes": [...]}
        names = next(iter(names.values()), None)
    if isinstance(names, list) and set(names) & set(NAMES):
        return tuple(name if name in NAMES else None for name in names)
    return None
