"""docs/robots.md as an engineer would type it: every block runs, and every option, call and count in it exists."""

from __future__ import annotations

import re
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import semi
from semi.adaptation import adapt
from semi.errors import InputError
from semi.foundation import Foundation
from semi.pairs import Pair
from semi.plugins import load_modality
from semi.streams.counts import Counts
from semi.streams.stream import Stream

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "robots.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.M | re.S)
TIME = np.arange(200) / 50
STEP = 20_000_000


def movement(i: int) -> np.ndarray:
    """4 s at 50 Hz (200, 6), swinging or at rest."""
    swing = (i % 2) * np.sin(2 * np.pi * (1 + i / 8) * TIME)
    return np.stack((9.8 + swing, swing, 0 * TIME, 2 * swing, 0.1 * TIME, 0 * TIME), axis=1)


class Driver:
    """Four seconds of a swing to whoever subscribes, from a thread of its own; looked at four times."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.looks = 0

    def is_running(self) -> bool:
        self.looks += 1
        return self.looks < 4

    def subscribe(self, push: Callable[[int, Any], bool]) -> None:
        thread = threading.Thread(target=self._drive, args=(push,))
        self.threads.append(thread)
        thread.start()

    def _drive(self, push: Callable[[int, Any], bool]) -> None:
        for i, row in enumerate(movement(1).tolist()):
            push(i * STEP, tuple(row))


@pytest.fixture
def folder(tiny_foundation: Foundation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the page is read: my-imu, and a recording of twelve seconds in rec."""
    pytest.importorskip("semi_plugin_imu")
    rosbags = pytest.importorskip("rosbags.rosbag2")
    from rosbags.typesys import Stores, get_typestore

    sampled = [{"data": movement(i).tolist(), "rate": 50, "units": "SI"} for i in range(8)]
    pairs = [Pair(sample, ("at rest", "a swing")[i % 2]) for i, sample in enumerate(sampled)]
    adapt(tiny_foundation, "imu", pairs, encoder="statistics", out=tmp_path / "my-imu", steps=1, diagnose=False)
    types = get_typestore(Stores.ROS2_HUMBLE)
    Imu, Header = types.types["sensor_msgs/msg/Imu"], types.types["std_msgs/msg/Header"]
    Stamp, Vector = types.types["builtin_interfaces/msg/Time"], types.types["geometry_msgs/msg/Vector3"]
    Quaternion = types.types["geometry_msgs/msg/Quaternion"]
    unknown = np.zeros(9)
    with rosbags.Writer(tmp_path / "rec", version=9) as bag:
        connection = bag.add_connection("/imu/data", Imu.__msgtype__, typestore=types)
        for i, row in enumerate(np.concatenate([movement(1), movement(0), movement(1)])):
            header = Header(Stamp(*divmod(i * STEP, 10**9)), "imu")
            angular, linear = Vector(*row[3:]), Vector(*row[:3])
            message = Imu(header, Quaternion(0, 0, 0, 1), unknown, angular, unknown, linear, unknown)
            bag.write(connection, i * STEP, types.serialize_cdr(message, Imu.__msgtype__))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_programs_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the order of the page, each with what those before it defined."""
    programs = [text for language, text in BLOCKS if language == "python"]
    assert len(programs) == 5
    driver = Driver()
    names: dict[str, Any] = {"driver": driver}
    for number, program in enumerate(programs):
        exec(compile(program, f"robots.md, program {number + 1}", "exec"), names)
        for thread in driver.threads:
            thread.join()
    labels, *_ = capsys.readouterr().out.splitlines()
    assert labels.startswith("a swing 0.0")
    watched(names["watch"])
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("semi")] == []


def watched(watch: Callable[..., None]) -> None:
    """The loop of the page gives what is read, warns of what cannot be, and ends with the stream."""
    readings: list[Any] = []
    warnings: list[str] = []
    with semi.Session.load("my-imu", text_worker=None) as session:
        stream = session.stream("imu", rate_hz=50.0, window_s=4.0, hop_s=4.0)
        thread = threading.Thread(target=watch, args=(stream, readings.append, warnings.append))
        thread.start()
        for start, rows, told in ((0, movement(1), readings), (10**11, movement(1) * 1e6, warnings)):
            for i, row in enumerate(rows):
                stream.push(start + i * STEP, row)
            deadline = time.monotonic() + 30
            while not told and time.monotonic() < deadline:
                time.sleep(0.01)
        stream.close()
        thread.join(30)
        assert not thread.is_alive()
    assert [reading.nearest[0].label for reading in readings] == ["a swing"]
    assert "of stream imu could not be read" in warnings[0]


def test_a_length_that_no_window_can_have_is_refused(folder: Path) -> None:
    with semi.Session.load("my-imu", text_worker=None) as session:
        for length in (0.1, 1000.0):
            with pytest.raises(InputError, match="imu has no windows of that length") as error:
                session.stream("imu", rate_hz=50.0, window_s=length, hop_s=1.0)
            assert error.value.expected == "0.5 to 60 s"


def commands(first: str) -> Iterator[list[str]]:
    for language, text in BLOCKS:
        if not language:
            yield from (words for line in text.splitlines() if (words := shlex.split(line))[0] == first)


def test_the_commands_run(folder: Path) -> None:
    from semi.cli import app

    runnable = [words for words in commands("semi") if words[1] != "fetch"]
    assert [words[1] for words in runnable] == ["stream", "stream", "export"]
    for words in runnable:
        if words[1] == "export":
            pytest.importorskip("onnxruntime")
            pytest.importorskip("onnxscript")
        done = CliRunner().invoke(app, words[1:])
        assert done.exit_code == 0, (words, done.output)
        assert "a swing" in done.output or words[1] == "export"


def test_what_is_installed_fetched_and_started_exists() -> None:
    from semi.assets.catalog import CORE

    (install,) = commands("pip")
    distributions = {path.parent.name for path in ROOT.glob("semi_plugins/*/pyproject.toml")}
    for name in install[2:]:
        plugin, _, extras = name.partition("[")
        assert plugin == "semi-llm" or plugin.removeprefix("semi-plugin-") in distributions
        text = (ROOT / "semi_plugins" / plugin.removeprefix("semi-plugin-") / "pyproject.toml") if extras else None
        assert text is None or f"\n{extras.rstrip(']')} = [" in text.read_text("utf-8")
    (fetch,) = (words for words in commands("semi") if words[1] == "fetch")
    known = {*CORE, *(asset.name for asset in load_modality("imu").assets)}
    assert set(fetch[2:]) <= known
    (node,) = commands("python")
    assert (ROOT / node[1]).is_file()  # tests/test_example_programs.py runs it


def test_counts_and_calls_of_the_tables_exist() -> None:
    rows = re.findall(r"^\|.*\| ((?:`\w+`(?:, )?)+) \|$", PAGE, re.M)
    shown = set(re.findall(r"\w+", " ".join(rows)))
    assert shown <= set(Counts.__dataclass_fields__)
    assert shown >= set(Counts.__dataclass_fields__) - {"pushed", "stored", "windows", "given"}
    for name in re.findall(r"`stream\.(\w+)\(", PAGE):
        assert hasattr(Stream, name), name
    for name in re.findall(r"`session\.(\w+)\(", PAGE):
        assert hasattr(semi.Session, name), name
