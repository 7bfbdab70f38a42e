"""Arrays and tables to recordings: rate and units declared, converted, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from semi.errors import PairsError
from semi.pairs import Pair
from semi.pairs_io import pairs_sha256, read_labelled, read_pairs, write_pairs

from semi_plugin_imu.modality import Imu
from semi_plugin_imu.sources.reading import read_sample

NAMES = ["ax", "ay", "az", "gx", "gy", "gz"]


def measured(sample: Any, folder: Path | None = None) -> np.ndarray:
    recording = read_sample(sample, folder)
    assert recording.rate == 50.0
    return recording.both("test")


def write_csv(path: Path, header: str, rows: np.ndarray) -> Path:
    path.write_text("\n".join([header, *(",".join(map(repr, row)) for row in rows.tolist())]) + "\n")
    return path


def test_every_form_gives_the_same_numbers(movement: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", movement)
    timed = np.column_stack((np.arange(200) / 50 + 1.7e9, movement))
    np.save(tmp_path / "timed.npy", timed)
    write_csv(tmp_path / "a.csv", "time,ax,ay,az,gx,gy,gz", timed)
    scaled = movement / np.repeat([9.80665, np.pi / 180], 3)
    reordered = np.column_stack((scaled[:, 3:], np.arange(200), scaled[:, :3], np.arange(200) * 20))
    header = "gx [deg/s],gy [deg/s],gz [deg/s],frame,AX (g),AY (g),AZ (g),time [ms]"
    write_csv(tmp_path / "b.csv", header, reordered)
    forms: list[Any] = [
        {"data": movement.tolist(), "rate": 50, "units": "SI"},
        {"data": scaled, "rate": 50.0, "units": {"acceleration": "g", "gyroscope": "deg/s"}},
        {"data": movement[:, ::-1], "columns": NAMES[::-1], "rate": 50, "units": "SI"},
        {"data": timed, "units": "SI"},
        {"acceleration": movement[:, :3], "gyroscope": movement[:, 3:], "rate": 50, "units": "SI"},
        {"file": "a.npy", "rate": 50, "units": "SI"},
        {"file": str(tmp_path / "timed.npy"), "units": "SI"},
        {"file": "a.csv", "units": "SI"},
        "b.csv",
        Path("b.csv"),
        json.dumps({"file": "a.csv", "units": "SI"}),
    ]
    for form in forms:
        np.testing.assert_allclose(
            measured(form, tmp_path), movement.astype(np.float32), rtol=1e-6, err_msg=str(form)[:80]
        )


def test_a_file_beside_the_samples_declares_for_all(movement: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", movement)
    with pytest.raises(PairsError, match="not known"):
        read_sample("a.npy", tmp_path)
    (tmp_path / "imu.json").write_text('{"rate": 50, "units": {"acceleration": "m/s^2", "gyroscope": "rad/s"}}')
    np.testing.assert_array_equal(measured("a.npy", tmp_path), movement.astype(np.float32))
    np.testing.assert_array_equal(measured(movement, tmp_path), movement.astype(np.float32))
    assert read_sample({"file": "a.npy", "rate": 100}, tmp_path).rate == 100  # what a sample says goes first
    np.save(tmp_path / "windows.npy", np.stack([movement, movement[::-1]]))
    (tmp_path / "labels.csv").write_text("label\nforth\nback\n")
    assert len(read_labelled(tmp_path / "windows.npy", tmp_path / "labels.csv", modality=Imu()).pairs) == 2
    (tmp_path / "imu.json").write_text('{"hertz": 50}')
    with pytest.raises(PairsError, match="declares something unknown"):
        read_sample("a.npy", tmp_path)


def test_a_parsed_sample_survives_parsing_and_files(sample: dict[str, Any], tmp_path: Path) -> None:
    parsed = Imu().parse(sample)
    pair = Pair(parsed, "a swing")
    write_pairs(tmp_path / "pairs.jsonl", [pair])
    again = read_pairs(tmp_path / "pairs.jsonl", modality=Imu())
    assert again.sha256 == pairs_sha256([pair]) == pairs_sha256([Pair(Imu().parse(parsed), "a swing")])


def test_a_sample_shows_as_where_it_came_from(movement: np.ndarray, sample: dict[str, Any], tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", "time,ax [g],ay [g],az [g]", np.column_stack((np.arange(200) / 50, movement[:, :3])))
    parsed = Imu().parse({"file": "a.csv", "start": 1.0}, folder=tmp_path)
    assert repr(parsed) == "a.csv, start 1.0: 3 s of acceleration at 50 Hz"
    assert repr(Imu().parse(parsed)) == repr(parsed)
    assert repr(Imu().parse(sample)) == "4 s of acceleration and gyroscope at 50 Hz"


def test_windows(movement: np.ndarray, tmp_path: Path) -> None:
    window = {"start": 1.0, "duration": 2.0}
    timed = np.column_stack((np.arange(200) / 50 + 5.0, movement))
    for form in ({"data": movement, "rate": 50}, {"data": timed}):
        np.testing.assert_array_equal(measured({**form, **window, "units": "SI"}), movement[50:150].astype(np.float32))
    rest = {"data": movement, "rate": 50, "units": "SI", "start": 3.0}
    np.testing.assert_array_equal(measured(rest), movement[150:].astype(np.float32))
    for outside in ({"start": 3.0, "duration": 2.0}, {"start": 9.0}):
        with pytest.raises(PairsError, match="window is not in the recording"):
            read_sample({"data": movement, "rate": 50, "units": "SI", **outside})


def test_one_quantity_may_be_absent(movement: np.ndarray) -> None:
    only = read_sample({"data": movement[:, :3], "rate": 50, "units": {"acceleration": "m/s^2"}})
    assert only.gyroscope is None
    assert list(only.as_sample()) == ["rate", "units", "acceleration"]
    turning = read_sample({"gyroscope": movement[:, 3:], "rate": 50, "units": {"gyroscope": "rad/s"}})
    assert turning.acceleration is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": None}, "sampling rate is not known"),
        ({"units": {"acceleration": "g"}}, "unit of the gyroscope is not known"),
        ({"units": {}}, "unit of the acceleration is not known"),
        ({"units": {"acceleration": "ft/s^2"}}, "unknown unit"),
        ({"units": {"speed": "m/s"}}, "unknown quantity"),
        ({"units": "metric"}, "which unit"),
        ({"rate": 0}, "`rate` is not a positive"),
        ({"rate": True}, "`rate` is not a positive"),
        ({"rate": 1.0}, "rate is out of bounds"),
        ({"rate": 1000}, "too short"),
        ({"start": -1}, "`start` is not"),
        ({"hertz": 50}, "no key 'hertz'"),
        ({"columns": ["ax", "ax", "az", "gx", "gy", "gz"]}, "does not name columns"),
        ({"columns": ["ax", "ay", "az"]}, "what the columns are"),
        ({"columns": ["ax", "ay", None, "gx", "gy", "gz"]}, "columns are missing"),
        ({"data": np.zeros((200, 5))}, "what the columns are"),
        ({"data": np.zeros((0, 6))}, "not numbers"),
        ({"data": [[1, 2], [3]]}, "not a table"),
        ({"data": np.full((200, 6), np.nan)}, "NaN"),
        ({"data": np.full((200, 6), 300.0)}, "no sensor measures such gyroscope"),
        ({"data": np.zeros((5000, 6))}, "too long"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_what_is_unknown_or_impossible_is_refused(sample: dict[str, Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(PairsError, match=message):
        read_sample(sample | change)


def test_rate_and_stamps_must_agree(movement: np.ndarray) -> None:
    timed = np.column_stack((np.arange(200) * 20.0, movement))  # ms
    with pytest.raises(PairsError, match="contradict"):
        read_sample({"data": timed, "rate": 50, "units": "SI"})
    assert read_sample(
        {"data": timed, "rate": 50, "units": {"acceleration": "m/s^2", "gyroscope": "rad/s", "time": "ms"}}
    )
    with pytest.raises(PairsError, match="out of bounds"):
        read_sample({"data": timed, "units": "SI"})


@pytest.mark.parametrize("sample", [None, "", 7, {"what": 1}, {}, "{broken", [], "walk.txt"], ids=repr)
def test_what_is_no_sample_is_refused(sample: Any) -> None:
    with pytest.raises(PairsError):
        Imu().parse(sample)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no column is known"),
        ("time,ax,ay\n0,1,2\n", "columns are missing"),
        ("time,ax [g],ay [g],az [m/s^2]\n0,1,2,3\n", "two units of acceleration"),
        ("time,ax [g],ay [g],az [g]\n0,1,2,x\n", "something else than numbers"),
        ("time,ax [g],ay [g],az [g]\n0,1,2\n", "something else than numbers"),
        ("time,ax,ax,az\n0,1,2,3\n", "two columns have one name"),
        ("time,ax [parsec],ay,az\n0,1,2,3\n", "unknown unit"),
        ("time,ax [g],ay [g],az [g]\n", "no measurements"),
        ("", "cannot be read as a table"),
    ],
)
def test_tables_that_cannot_be_read_are_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(PairsError, match=message):
        read_sample("a.csv", tmp_path)


def test_nothing_pickled_is_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(PairsError, match=r"a\.npy cannot be read"):
        read_sample({"file": "a.npy", "rate": 50, "units": "SI"}, tmp_path)
    with pytest.raises(PairsError, match=r"gone\.npy cannot be read"):
        read_sample({"file": "gone.npy", "rate": 50, "units": "SI"}, tmp_path)


def test_a_window_of_a_stream_is_the_sample(movement: np.ndarray, sample: dict[str, Any]) -> None:
    window, parsed = Imu().window(movement, 50.0), Imu().parse(sample)
    assert window.keys() == parsed.keys()
    assert (window["rate"], window["units"]) == (parsed["rate"], parsed["units"])
    for name in ("acceleration", "gyroscope"):
        np.testing.assert_array_equal(window[name], parsed[name])
    assert "gyroscope" not in Imu().window(movement[:, :3], 50.0)


@pytest.mark.parametrize("shape", [(200, 7), (200, 4), (200,), (2, 6)], ids=str)
def test_no_window_of_an_imu_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(PairsError):
        Imu().window(np.zeros(shape), 50.0)
