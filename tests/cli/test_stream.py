"""`semi stream`: lines for people, JSON for programs, and what is refused before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import WIDTH, toy_pairs

OPTIONS = ["--rate", 10, "--window", 1, "--hop", 1]


@pytest.fixture
def table(work: Path) -> Path:
    """Three seconds at 10 Hz: each second a sample of the support."""
    vectors = np.repeat([pair.sample for pair in toy_pairs(8)[:3]], 10, axis=0)
    rows = [f"{number / 10:.1f}," + ",".join(map(repr, row)) for number, row in enumerate(vectors.tolist())]
    header = ",".join(["time", *(f"v{i}" for i in range(WIDTH))])
    (work / "recording.csv").write_text("\n".join([header, *rows]) + "\n")
    return work / "recording.csv"


@pytest.mark.parametrize("worker", ["thread", "process"])
def test_json_has_a_line_for_everything(
    worker: str, toy_integration: Path, tiny_text: str, table: Path, semi: Callable
) -> None:
    arguments = ["stream", "vectors", "--dir", toy_integration, "--from-table", table, "--speed", "max", *OPTIONS]
    result = semi(*arguments, "--text-worker", worker, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    *told, status = [json.loads(line) for line in result.stdout.splitlines()]
    readings, texts = told[::2], told[1::2]
    for second, (reading, text, pair) in enumerate(zip(readings, texts, toy_pairs(8)[:3], strict=True)):
        window = {"start_ns": second * 10**9, "end_ns": second * 10**9 + 900_000_000}
        assert reading["nearest"][0] == {"label": pair.caption, "distance": 0.0}
        assert reading["unlike_anything_seen"] is False
        assert {key: reading[key] for key in window} == window
        assert text == {**window, "text": text["text"]}
        describe = semi("describe", toy_integration, json.dumps(pair.sample), "--candidates", 1, "--json")
        assert json.loads(describe.stdout)[0]["text"] == text["text"]
    counts = status["status"]["counts"]
    assert (counts["pushed"], counts["stored"], counts["windows"], counts["given"]) == (30, 30, 3, 3)
    assert status["status"]["latency_ms"]["label"]["n"] == 3


def test_people_get_lines(toy_integration: Path, tiny_text: str, table: Path, semi: Callable) -> None:
    arguments = ["stream", "vectors", "--dir", toy_integration, "--from-table", table, "--speed", 1e6, *OPTIONS]
    result = semi(*arguments, "--no-text")
    assert (result.exit_code, result.stderr) == (0, "")
    *_, last, counted = result.stdout.splitlines()
    assert last == f"     2.90 s  {toy_pairs(8)[2].caption} (0.00)"
    assert counted.startswith("30 samples, 3 windows")


REFUSED = {
    "stream vectors --dir {toy}": "either --from-rosbag or --from-table",
    "stream vectors --dir {toy} --from-table t.csv --from-rosbag bag": "either --from-rosbag or --from-table",
    "stream vectors --dir {toy} --from-table gone.csv": "gone.csv",
    "stream vectors --dir {toy} --from-table recording.mcap": "recording.mcap is no table",
    "stream vectors --dir {toy} --from-rosbag bag": "modality vectors reads no recordings",
    "stream vectors --dir {toy} --from-table recording.csv --topic /a": "has no topics",
    "stream vectors --dir {toy} --from-table recording.csv --speed 0": "--speed is no speed",
    "stream vectors --dir {toy} --from-table recording.csv --speed fast": "--speed is no speed",
    "stream vectors --dir {toy} --from-table recording.csv --out-of-order skip": "unknown policy out_of_order",
    "stream vectors --dir {toy} --from-table recording.csv --hop 0": "hop_s is out of range",
    "stream vectors --dir {toy} --from-table recording.csv --text-worker fork": "invalid value for '--text-worker'",
    "stream imu --dir {toy} --from-table recording.csv": "is of another modality",
    "stream vectors --dir gone --from-table recording.csv": "gone",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_what_is_wrong_is_said(
    arguments: str, toy_integration: Path, tiny_text: str, table: Path, refused: Callable[..., str]
) -> None:
    refused(*(word.format(toy=toy_integration) for word in arguments.split()), says=(REFUSED[arguments],))
