"""rosbag2 folders, .db3 and MCAP files that `rosbags` wrote, against the arrays that went in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import semi
from semi.assets.lookup import assets_named
from semi.errors import InputError, PairsError, SessionError
from semi.modality import Encoder
from semi.pairs import Pair
from semi.streams.replay import replay
from semi.streams.stream import Answer, Reading
from semi.streams.writers import ThreadWriter

from semi_plugin_imu.assets import RIANN
from semi_plugin_imu.modality import Imu
from semi_plugin_imu.sources.reading import read_sample

try:
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore
except ImportError:
    pytest.skip("needs rosbags: pip install 'semi-plugin-imu[ros]'", allow_module_level=True)

STORE = get_typestore(Stores.ROS2_HUMBLE)
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
IMU = "sensor_msgs/msg/Imu"
Write = Callable[..., Path]


@pytest.fixture(params=["sqlite3", "mcap"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Write:
    """Writes measurements (T, 6) as Imu messages at 50 Hz and returns the bag's folder."""

    def message(row: np.ndarray, stamp: int, absent: str) -> Any:
        types = STORE.types
        vector, quaternion = types["geometry_msgs/msg/Vector3"], types["geometry_msgs/msg/Quaternion"]
        time, header = types["builtin_interfaces/msg/Time"], types["std_msgs/msg/Header"]
        covariance = {name: np.zeros(9) for name in ("linear_acceleration", "angular_velocity")}
        if absent:
            covariance[absent][0] = -1
        unknown = np.zeros(9)
        unknown[0] = -1  # of the orientation, as most sensors say
        return types[IMU](
            header=header(stamp=time(sec=stamp // SECOND, nanosec=stamp % SECOND), frame_id="wrist"),
            orientation=quaternion(x=0.0, y=0.0, z=0.0, w=1.0),
            orientation_covariance=unknown,
            angular_velocity=vector(*map(float, row[3:])),
            angular_velocity_covariance=covariance["angular_velocity"],
            linear_acceleration=vector(*map(float, row[:3])),
            linear_acceleration_covariance=covariance["linear_acceleration"],
        )

    def write(
        values: np.ndarray, *, topics: tuple[str, ...] = ("/imu/data",), absent: str = "", stamped: bool = True
    ) -> Path:
        folder = tmp_path / f"bag-{len(list(tmp_path.iterdir()))}"
        storage = StoragePlugin.MCAP if request.param == "mcap" else StoragePlugin.SQLITE3
        with Writer(folder, version=9, storage_plugin=storage) as writer:
            other = writer.add_connection("/chatter", "std_msgs/msg/String", typestore=STORE)
            text = STORE.types["std_msgs/msg/String"](data="hello")
            writer.write(other, START - 3 * SECOND, STORE.serialize_cdr(text, "std_msgs/msg/String"))
            for topic in topics:
                connection = writer.add_connection(topic, IMU, typestore=STORE)
                for number, row in enumerate(values):
                    moment = START + number * SECOND // 50
                    data = STORE.serialize_cdr(message(row, moment if stamped else 0, absent), IMU)
                    late = number % 3 * 1_000_000 if stamped else 0  # recorded up to 2 ms after it was measured
                    writer.write(connection, moment + late, data)
        return folder

    return write


def data_file(folder: Path) -> Path:
    (file,) = [path for path in folder.iterdir() if path.suffix in (".db3", ".mcap")]
    return file


def encoders() -> list[Encoder]:
    return [Imu().encoder(name) for name in ("statistics", "riann") if name != "riann" or RIANN.present()]


def test_a_bag_gives_the_embedding_of_the_array(write: Write, movement: np.ndarray, sample: dict[str, Any]) -> None:
    folder = write(movement)
    forms: list[Any] = [{"bag": str(folder), "topic": "/imu/data"}, str(folder), folder, data_file(folder)]
    parsed = [Imu().parse(form) for form in forms]
    for encoder in encoders():
        of_array = encoder.encode([Imu().parse(sample)])
        for one in parsed:
            np.testing.assert_array_equal(encoder.encode([one]), of_array)


@pytest.fixture(scope="module")
def model(movement: np.ndarray, sample: dict[str, Any]) -> semi.Integration:
    """The shipped foundation, adapted to swinging and resting in a few steps."""
    if not all(asset.present() for asset in assets_named(["smollm2-135m"])):
        pytest.skip("run: semi fetch smollm2-135m")
    pairs = [Pair(sample, "an arm that swings"), Pair(at_rest(movement), "nothing moves at all")]
    encoder = "riann" if RIANN.present() else "statistics"
    return semi.Foundation.load("smollm2-135m").adapt("imu", pairs * 2, encoder=encoder, steps=4, diagnose=False)


def at_rest(movement: np.ndarray) -> dict[str, Any]:
    return {"data": np.tile(movement[:1], (200, 1)), "rate": 50, "units": "SI"}


@pytest.mark.assets
def test_a_bag_gives_the_text_of_the_array(
    write: Write, movement: np.ndarray, sample: dict[str, Any], model: semi.Integration, tmp_path: Path
) -> None:
    """What the language model says of them, word for word; at rest it says something else."""
    rows = "".join(",".join(map(repr, row)) + "\n" for row in movement.tolist())
    (tmp_path / "movement.csv").write_text("ax,ay,az,gx,gy,gz\n" + rows)
    forms = [
        {"bag": str(write(movement)), "topic": "/imu/data"},
        {"file": str(tmp_path / "movement.csv"), "rate": 50, "units": "SI"},
        sample,
        at_rest(movement),
    ]
    of_bag, of_table, of_array, other = model.describe(forms, max_new_tokens=16)
    assert of_bag == of_table == of_array
    assert of_bag != other
    assert len(of_bag.split()) >= 3


@pytest.mark.assets
def test_a_replayed_bag_gives_the_text_of_the_array(
    write: Write, movement: np.ndarray, model: semi.Integration
) -> None:
    """Through a stream, window by window: embeddings bit for bit, texts word for word."""
    integrations = {"imu": model}
    with semi.Session(integrations, ThreadWriter(integrations), max_new_tokens=8) as session:
        stream, told = session.stream("imu", rate_hz=50.0, window_s=2.0, hop_s=2.0), Answers()
        replay(Imu().samples(write(movement), "/imu/data"), stream, [told], speed=None)
    windows = [{"data": movement[at : at + 100], "rate": 50, "units": "SI"} for at in (0, 100)]
    of_arrays = model.embed([Imu().parse(window) for window in windows]).numpy()
    np.testing.assert_array_equal(np.stack([answer.reading.embedding for answer in told.answers]), of_arrays)
    assert [answer.text for answer in told.answers] == model.describe(windows, max_new_tokens=8)


class Answers:
    """What a replay tells of windows."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    def answer(self, answer: Answer) -> None:
        self.answers.append(answer)

    def sample(self, stamp_ns: int, sample: np.ndarray) -> None: ...

    def reading(self, reading: Reading) -> None: ...

    def failure(self, error: SessionError) -> None:
        raise error

    def close(self) -> None: ...


def test_a_window_of_a_bag_is_that_of_the_array(write: Write, movement: np.ndarray) -> None:
    folder = write(movement)
    window = {"start": 1.5, "duration": 1.0}
    of_bag = read_sample({"bag": str(folder), "topic": "/imu/data", **window})
    assert of_bag.rate == 50.0
    np.testing.assert_array_equal(of_bag.both("test"), movement[75:125].astype(np.float32))
    rest = read_sample({"bag": str(folder), "start": 3.0})
    np.testing.assert_array_equal(rest.both("test"), movement[150:].astype(np.float32))
    for outside in ({"start": 3.5, "duration": 1.0}, {"start": 60.0}):
        with pytest.raises(PairsError, match="window is not in the recording"):
            read_sample({"bag": str(folder), **outside})


@pytest.mark.parametrize("absent", ["linear_acceleration", "angular_velocity"])
def test_minus_one_in_a_covariance_means_absent(write: Write, movement: np.ndarray, absent: str) -> None:
    recording = read_sample(write(movement, absent=absent))
    assert (recording.acceleration is None) == (absent == "linear_acceleration")
    assert (recording.gyroscope is None) == (absent == "angular_velocity")


def test_messages_without_stamps_go_by_when_they_were_recorded(write: Write, movement: np.ndarray) -> None:
    recording = read_sample(write(movement, stamped=False))
    assert recording.rate == 50.0
    np.testing.assert_array_equal(recording.both("test"), movement.astype(np.float32))


def test_units_of_a_driver_that_ignores_the_convention_may_be_declared(write: Write, movement: np.ndarray) -> None:
    in_g = movement / np.repeat([9.80665, 1.0], 3)
    recording = read_sample({"bag": str(write(in_g)), "units": {"acceleration": "g"}})
    np.testing.assert_allclose(recording.both("test"), movement, rtol=1e-6)


def test_the_topic_must_be_clear(write: Write, movement: np.ndarray) -> None:
    folder = write(movement, topics=("/left/imu", "/right/imu"))
    with pytest.raises(PairsError, match="which topic") as error:
        read_sample(folder)
    assert "/left/imu, /right/imu" in str(error.value)
    assert read_sample({"bag": str(folder), "topic": "/left/imu"}).rate == 50.0
    with pytest.raises(PairsError, match="no such topic"):
        read_sample({"bag": str(folder), "topic": "/chatter"})


def test_damaged_and_missing_bags_are_named(write: Write, movement: np.ndarray, tmp_path: Path) -> None:
    file = data_file(write(movement))
    file.write_bytes(file.read_bytes()[:500])
    (tmp_path / "text.mcap").write_text("not a recording")
    for path in (file, file.parent, tmp_path / "text.mcap", tmp_path / "gone.db3"):
        with pytest.raises(PairsError, match=path.name):
            read_sample(path)


def test_without_rosbags_the_extra_is_named(
    write: Write, movement: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(movement)
    monkeypatch.setitem(sys.modules, "rosbags.highlevel", None)
    with pytest.raises(InputError) as error:
        Imu().parse(folder)
    assert "pip install 'semi-plugin-imu[ros]'" in str(error.value)


def test_samples_of_a_bag_are_those_of_the_array(write: Write, movement: np.ndarray) -> None:
    """Stamped as they were measured; as they were recorded where they are not stamped."""
    stamps = [START + number * SECOND // 50 for number in range(len(movement))]
    for stamped in (True, False):
        folder = write(movement, stamped=stamped)
        for path in (folder, data_file(folder)):
            found = list(Imu().samples(path, "/imu/data"))
            assert [stamp for stamp, _ in found] == stamps
            np.testing.assert_array_equal(np.stack([sample for _, sample in found]), movement)


def test_samples_without_a_gyroscope_have_three_channels(write: Write, movement: np.ndarray) -> None:
    found = list(Imu().samples(write(movement, absent="angular_velocity")))
    np.testing.assert_array_equal(np.stack([sample for _, sample in found]), movement[:, :3])
    with pytest.raises(PairsError, match="no acceleration"):
        next(Imu().samples(write(movement, absent="linear_acceleration")))


def test_what_has_no_samples_is_named(write: Write, movement: np.ndarray, tmp_path: Path) -> None:
    folder = write(movement, topics=("/left/imu", "/right/imu"))
    with pytest.raises(PairsError, match="which topic"):
        next(Imu().samples(folder))
    with pytest.raises(PairsError, match="no such topic"):
        next(Imu().samples(folder, "/chatter"))
    with pytest.raises(PairsError, match=r"gone\.mcap"):
        next(Imu().samples(tmp_path / "gone.mcap"))
