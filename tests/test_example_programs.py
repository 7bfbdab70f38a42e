"""The programs of examples/: all compile, and those whose packages are here are run."""

from __future__ import annotations

import json
import runpy
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from semi.adaptation import adapt
from semi.foundation import Foundation
from semi.pairs import Pair

FOLDER = Path(__file__).parents[1] / "examples"
PROGRAMS = sorted(FOLDER.glob("*.py"))


def run(program: str, *arguments: object, monkeypatch: pytest.MonkeyPatch) -> None:
    path = FOLDER / f"{program}.py"
    monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
    runpy.run_path(str(path), run_name="__main__")


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_it_compiles_and_says_how_it_is_run(path: Path) -> None:
    text = path.read_text("utf-8")
    code = compile(text, str(path), "exec")
    told = code.co_consts[0]
    assert isinstance(told, str)
    assert f" {path.name} " in told


def movements() -> list[dict[str, Any]]:
    """Eight windows of 2 s at 50 Hz, swinging and at rest."""
    time = np.arange(100) / 50
    found = []
    for i in range(8):
        swing = (i % 2) * np.sin(2 * np.pi * (1 + i / 8) * time)
        axes = (9.8 + swing, swing, 0 * time, 2 * swing, 0.1 * time, 0 * time)
        found.append({"data": np.stack(axes, axis=1).tolist(), "rate": 50, "units": "SI"})
    return found


@pytest.fixture
def imu(tiny_foundation: Foundation, tmp_path: Path) -> Path:
    """An integration of the modality imu."""
    pytest.importorskip("semi_plugin_imu")
    pairs = [Pair(sample, ("at rest", "a swing")[i % 2]) for i, sample in enumerate(movements())]
    adapt(tiny_foundation, "imu", pairs, encoder="statistics", out=tmp_path / "imu", steps=1, diagnose=False)
    return tmp_path / "imu"


@pytest.fixture
def image(tiny_foundation: Foundation, tmp_path: Path) -> Path:
    """An integration of the modality image; beside it lies red.png."""
    pytest.importorskip("semi_plugin_image")
    from PIL import Image

    pairs = []
    for i, colour in enumerate(("red", "green", "blue") * 2):
        path = tmp_path / f"{colour}.png"
        Image.new("RGB", (24 + i, 24), colour).save(path)
        pairs.append(Pair(path, colour))
    adapt(tiny_foundation, "image", pairs, encoder="layout", out=tmp_path / "image", steps=1, diagnose=False)
    return tmp_path / "image"


def test_mixed_prompt(
    imu: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "swing.npz", stamps=np.arange(100) * 20_000_000, values=movements()[1]["data"])
    files = imu, tmp_path / "swing.npz", image, tmp_path / "red.png"
    run("mixed_prompt", *files, "--window", 2, "--speed", 100, monkeypatch=monkeypatch)
    assert capsys.readouterr().out.startswith("1.98 s, nearest is 'a swing': ")


def test_lerobot_replay(
    imu: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    values = np.concatenate([movements()[i]["data"] for i in (1, 0)])  # a swing of 2 s, then rest
    columns = {
        "observation.imu": values.tolist(),
        "timestamp": pyarrow.array(np.arange(200) / 50, pyarrow.float32()),
        "episode_index": [0] * 200,
    }
    names = ["ax", "ay", "az", "gx", "gy", "gz"]
    info = {
        "fps": 50,
        "features": {"observation.imu": {"dtype": "float64", "shape": [6], "names": names}},
        "chunks_size": 1000,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
    }
    for folder in ("meta", "data/chunk-000"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "meta" / "info.json").write_text(json.dumps(info))
    parquet.write_table(pyarrow.table(columns), tmp_path / "data" / "chunk-000" / "episode_000000.parquet")
    run("lerobot_replay", imu, tmp_path, "--window", 2, "--hop", 2, monkeypatch=monkeypatch)
    first, text, second, other_text, counted = capsys.readouterr().out.splitlines()
    assert first.split(maxsplit=2)[:2] == ["1.98", "s"]
    assert "a swing (0.00)" in first
    assert "at rest (0.00)" in second
    assert text.endswith('"')
    assert other_text.endswith('"')
    assert counted == "200 samples, 2 windows"
    with pytest.raises(SystemExit, match=r"(?s)error: .*info\.json"):
        run("lerobot_replay", imu, tmp_path / "data", monkeypatch=monkeypatch)


class Node:
    """The part of rclpy.node.Node that the example uses."""

    def __init__(self, name: str) -> None:
        self.published: list[Any] = []

    def declare_parameter(self, name: str, value: object) -> SimpleNamespace:
        return SimpleNamespace(value=PARAMETERS.get(name, value))

    def create_publisher(self, kind: type, topic: str, depth: int) -> SimpleNamespace:
        return SimpleNamespace(publish=self.published.append)

    def create_subscription(self, kind: type, topic: str, call: Any, quality: object) -> None:
        self.subscribed = (topic, call)

    def create_timer(self, period: float, call: Any) -> None:
        self.timer = call

    def destroy_node(self) -> None:
        self.destroyed = True


PARAMETERS: dict[str, object] = {}


def spin(node: Any) -> None:
    """Four seconds of messages, and the timer between them."""
    topic, push = node.subscribed
    assert topic == "/imu/data"
    for number, row in enumerate(np.concatenate([movements()[i]["data"] for i in (1, 0)]).tolist()):
        vectors = [SimpleNamespace(**dict(zip("xyz", part, strict=True))) for part in (row[:3], row[3:])]
        stamp = SimpleNamespace(sec=1_700_000_000 + number // 50, nanosec=number % 50 * 20_000_000)
        message = SimpleNamespace(
            header=SimpleNamespace(stamp=stamp), linear_acceleration=vectors[0], angular_velocity=vectors[1]
        )
        push(message)
    while len(node.published) < 1:
        node.timer()
        time.sleep(0.01)
    raise KeyboardInterrupt


def test_ros2_node(imu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for rclpy: a real one comes with ROS only."""
    nodes: list[Any] = []

    def spun(node: Any) -> None:
        nodes.append(node)
        spin(node)

    modules: dict[str, dict[str, Any]] = {
        "rclpy": {"init": lambda: None, "spin": spun, "try_shutdown": lambda: None},
        "rclpy.node": {"Node": Node},
        "rclpy.qos": {"qos_profile_sensor_data": None},
        "sensor_msgs": {},
        "sensor_msgs.msg": {"Imu": SimpleNamespace},
        "std_msgs": {},
        "std_msgs.msg": {"String": SimpleNamespace},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(PARAMETERS, "folder", str(imu))
    monkeypatch.setitem(PARAMETERS, "window_s", 2.0)
    run("ros2_node", monkeypatch=monkeypatch)
    (node,) = nodes
    assert node.destroyed
    told = json.loads(node.published[0].data)
    assert told["label"] in ("a swing", "at rest")
    assert told["end_ns"] - told["start_ns"] == 1_980_000_000
    assert told["end_ns"] >= 1_700_000_001_980_000_000
