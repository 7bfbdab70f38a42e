"""rosbag2 folders, .db3 and .mcap files (and .bag of ROS 1), read by the pure Python package `rosbags`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from semi.errors import InputError, PairsError

from semi_plugin_imu.recording import Recording
from semi_plugin_imu.sources.table import AXES, Declared, recording
from semi_plugin_imu.units import SI

SUFFIXES = (".db3", ".mcap", ".bag")
IMU = "sensor_msgs/msg/Imu"
ABSENT = -1.0
"""In the first element of a covariance: the quantity is not measured (sensor_msgs/Imu)."""
MARGIN = 1_000_000_000
"""ns by which a message may be recorded before or after the moment that it is stamped with, as against the first."""


def is_bag(path: Path) -> bool:
    """Whether the path looks like a recording of ROS."""
    return path.suffix in SUFFIXES or (path / "metadata.yaml").is_file()


def read_bag(path: Path, topic: str | None, declared: Declared) -> Recording:
    """A window of the Imu messages of one topic.

    Acceleration is in m/s^2 and angular velocity in rad/s, unless declared otherwise. Time is that of the headers;
    where they are not stamped, the moment of recording. A quantity whose covariance begins with -1 is absent.

    Args:
        path: a folder with metadata.yaml, a .db3, .mcap or .bag file.
        topic: None: the only one with Imu messages.
        declared: the window counts from the topic's first message.

    Raises:
        InputError: `rosbags` is not installed.
        PairsError: not a bag, no such topic, or what `recording` refuses.
    """
    with _opened(path, topic) as (reader, connections):
        stamps, messages, start = _messages(reader, connections, declared)
    columns = {"time": (stamps - stamps[0]) / 1e9, **_measured(messages)}
    return recording(columns, replace(declared, start=start, units={**SI, **declared.units, "time": "s"}))


def bag_samples(path: Path, topic: str | None) -> Iterator[tuple[int, np.ndarray]]:
    """Stamps in ns and measurements (6,) in SI units, or (3,) without a gyroscope, in the order of recording.

    Raises:
        InputError: `rosbags` is not installed.
        PairsError: not a bag, no such topic, no acceleration, or a quantity that comes and goes.
    """
    names: tuple[str, ...] | None = None
    with _opened(path, topic) as (reader, connections):
        for _, recorded, data in reader.messages(connections):
            stamp, message = _stamped(reader, recorded, data)
            columns = _measured([message])
            if "ax" not in columns:
                raise PairsError(f"{path} holds no acceleration", got="linear_acceleration_covariance[0] = -1")
            if names not in (None, tuple(columns)):
                raise PairsError("angular_velocity comes and goes", got=f"{', '.join(columns)} at {stamp} ns")
            names = tuple(columns)
            yield stamp, np.concatenate(list(columns.values()))


@contextmanager
def _opened(path: Path, topic: str | None) -> Iterator[tuple[Any, list[Any]]]:
    """A reader of the recording, and the connections of the topic that is meant."""
    try:
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise InputError(
            "bags of ROS are read by the package rosbags, which is not installed",
            got=error,
            do="pip install 'semi-plugin-imu[ros]'",
        ) from error
    if not path.exists():
        raise PairsError(f"{path} does not exist", expected="a rosbag2 folder, a .db3, .mcap or .bag file")
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        raise PairsError(
            f"{path} is no rosbag2 folder", got="no metadata.yaml in it", do="name the folder that has one"
        )
    # Bags of ROS 2 before Iron hold no message definitions; that of Imu has never changed.
    store = get_typestore(Stores.ROS2_HUMBLE)
    try:
        with AnyReader([path], default_typestore=store) as reader:
            yield reader, _connections(path, reader.connections, topic)
    except PairsError:
        raise
    except Exception as error:  # rosbags passes on what SQLite, zstd and its own parsers raise
        got = f"{type(error).__name__}: {error}"
        raise PairsError(f"{path} cannot be read as a recording of ROS", got=got) from error


def _connections(path: Path, connections: Iterable[Any], topic: str | None) -> list[Any]:
    """The connections of the one topic that is meant."""
    found = [connection for connection in connections if connection.msgtype == IMU]
    topics = sorted({connection.topic for connection in found})
    if topic is None and len(topics) == 1:
        return found
    if topic not in topics:
        raise PairsError(
            f"{path}: which topic?" if topic is None and topics else f"{path} has no such topic with Imu messages",
            got=topic,
            expected=f"one of {', '.join(topics)}" if topics else f"a topic of type {IMU}",
            do='name it: --topic /imu/data, or in a sample "topic": "/imu/data"',
        )
    return [connection for connection in found if connection.topic == topic]


def _messages(reader: Any, connections: list[Any], declared: Declared) -> tuple[np.ndarray, list[Any], float]:
    """Stamps (n,) in ns and messages of the window and a little more; when it starts, in s after the first."""
    first = next(reader.messages(connections), None)
    if first is None:
        raise PairsError("the topic holds no messages", got=connections[0].topic)
    recorded_first, (stamp_first, _) = first[1], _stamped(reader, first[1], first[2])
    begin = recorded_first + int(declared.start * 1e9) - MARGIN
    end = None if declared.duration is None else begin + int(declared.duration * 1e9) + 2 * MARGIN
    found = reader.messages(connections, max(begin, 0), end)
    pairs = [_stamped(reader, recorded, data) for _, recorded, data in found]
    if not pairs:
        raise PairsError("the window is not in the recording", got=f"no messages after {declared.start:g} s")
    pairs.sort(key=lambda pair: pair[0])
    stamps = np.array([stamp for stamp, _ in pairs], np.int64)
    return stamps, [message for _, message in pairs], declared.start - (int(stamps[0]) - stamp_first) / 1e9


def _stamped(reader: Any, recorded: int, data: bytes) -> tuple[int, Any]:
    """A message and its stamp in ns: of its header, or the moment of recording where that is not stamped."""
    message = reader.deserialize(data, IMU)
    stamp = message.header.stamp
    return stamp.sec * 1_000_000_000 + stamp.nanosec or recorded, message


def _measured(messages: list[Any]) -> dict[str, np.ndarray]:
    """The columns ax ... gz, (n,) each, of the quantities that are there."""
    columns: dict[str, np.ndarray] = {}
    for quantity, field in (("acceleration", "linear_acceleration"), ("gyroscope", "angular_velocity")):
        absent = {float(getattr(message, f"{field}_covariance")[0]) == ABSENT for message in messages}
        if absent == {True}:
            continue
        if len(absent) > 1:
            raise PairsError(f"{field} comes and goes", got=f"{field}_covariance[0] = -1 in some messages only")
        vectors = [getattr(message, field) for message in messages]
        values = np.array([(vector.x, vector.y, vector.z) for vector in vectors], np.float64)
        columns.update(zip(AXES[quantity], values.T, strict=True))
    return columns
