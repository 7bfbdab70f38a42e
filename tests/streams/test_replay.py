"""A recording replayed through a session: nothing left out at full speed, on time at any other, and what is shown."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semi import Integration, Session
from semi.adaptation import adapt
from semi.errors import InputError, SessionError
from semi.foundation import Foundation
from semi.pairs import Pair
from semi.streams import replay as module
from semi.streams.replay import replay
from semi.streams.settings import StreamSettings
from semi.streams.stream import Answer, Reading
from semi.streams.view import Live, view
from semi.streams.windows import cut

STEP = 20_000_000
SETTINGS: dict[str, Any] = {"rate_hz": 50.0, "window_s": 0.5, "hop_s": 0.2, "out_of_order": "sort"}
WIDTH = 4


@dataclass
class Watched:
    """Everything that was told."""

    samples: list[int] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    failures: list[SessionError] = field(default_factory=list)

    def sample(self, stamp_ns: int, sample: np.ndarray) -> None:
        self.samples.append(stamp_ns)

    def reading(self, reading: Reading) -> None:
        self.readings.append(reading)

    def answer(self, answer: Answer) -> None:
        self.answers.append(answer)

    def failure(self, error: SessionError) -> None:
        self.failures.append(error)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def integration(foundation_folder: Path, tiny_text_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two labels, each a direction."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tiny_text_site)
        foundation = Foundation.load(foundation_folder, device="cpu")
    folder = tmp_path_factory.mktemp("integration") / "toy"
    pairs = [Pair((np.eye(WIDTH)[i % 2] * (1 + i / 10)).tolist(), ("left", "right")[i % 2]) for i in range(6)]
    adapt(foundation, "vectors", pairs, out=folder, steps=1, diagnose=False)
    return folder


@pytest.fixture
def session(integration: Path) -> Iterator[Session]:
    with Session.load(integration, device="cpu", max_new_tokens=4) as session:
        yield session


def recording(seconds: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Left, then right; with two samples swapped, a duplicate, a NaN and a gap."""
    n = round(seconds * 50)
    stamps = np.arange(n) * STEP
    values = np.eye(WIDTH)[(np.arange(n) >= n // 2).astype(int)]
    values += np.random.default_rng(0).normal(0, 0.02, values.shape)
    values[5, 0] = np.nan
    stamps[[10, 11]] = stamps[[11, 10]]
    stamps[20] = stamps[19]
    stamps[n // 2 :] += 10 * STEP
    return stamps, values


def test_at_full_speed_every_window_is_read_and_written_about(session: Session, integration: Path) -> None:
    stamps, values = recording()
    stream, watched = session.stream("vectors", **SETTINGS), Watched()
    replay(zip(stamps.tolist(), values, strict=True), stream, [watched], speed=None)
    windows, counts = cut(stamps, values, StreamSettings(**SETTINGS))
    assert len(windows) > 3
    assert min(counts.invalid, counts.duplicates, counts.not_finite, counts.gaps) > 0
    assert stream.counts() == counts
    assert watched.samples == stamps.tolist()
    assert watched.failures == []
    model = Integration.load(integration, device="cpu")
    for window, reading, answer in zip(windows, watched.readings, watched.answers, strict=True):
        assert (reading.start_ns, reading.end_ns) == (window.start_ns, window.end_ns)
        assert answer.reading is reading
        (offline,) = model.read([model.modality.window(window.values, 50.0)], max_new_tokens=4)
        assert reading.nearest == offline.nearest
        assert answer.text == offline.text
    assert [reading.nearest[0].label for reading in (watched.readings[0], watched.readings[-1])] == ["left", "right"]


def test_a_question_takes_the_place_of_the_instruction(session: Session) -> None:
    stamps, values = recording()
    stream, watched = session.stream("vectors", **SETTINGS), Watched()
    replay(zip(stamps.tolist(), values, strict=True), stream, [watched], speed=1e6, question="Is it left?")
    assert {answer.question for answer in watched.answers} == {"Is it left?"}
    assert watched.readings[-1].end_ns == cut(stamps, values, StreamSettings(**SETTINGS))[0][-1].end_ns


def test_without_text_no_language_model_is_asked(integration: Path) -> None:
    stamps, values = recording()
    with Session.load(integration, text_worker=None) as session:
        watched = Watched()
        stream = session.stream("vectors", **SETTINGS)
        replay(zip(stamps.tolist(), values, strict=True), stream, [watched], speed=None, text=False)
        assert watched.readings
        assert watched.answers == []
        with pytest.raises(InputError, match="no language model"):
            replay(zip((stamps + 10**10).tolist(), values, strict=True), stream, speed=None)


def test_what_cannot_be_read_is_told_and_the_replay_goes_on(session: Session) -> None:
    """Of the policy "raise" late samples, and windows beyond float32."""
    stamps, values = recording()
    huge = np.where(np.arange(len(values))[:, None] < 40, values, 1e300)
    watched, stream = Watched(), session.stream("vectors", **{**SETTINGS, "out_of_order": "raise"})
    replay(zip(stamps.tolist(), huge, strict=True), stream, [watched], speed=None, text=False)
    told = [error.what for error in watched.failures]
    unread = [what for what in told if "of stream vectors could not be read" in what]
    assert "a sample is older than the newest one" in told
    assert unread
    assert len(watched.samples) == len(stamps)
    counts = stream.counts()
    assert len(watched.readings) + len(unread) == counts.given > 0


def test_a_session_that_is_closed_ends_the_replay(session: Session) -> None:
    stamps, values = recording()
    stream = session.stream("vectors", **SETTINGS)

    class Closing(Watched):
        def reading(self, reading: Reading) -> None:
            session.close()

    with pytest.raises(SessionError, match="closed") as error:
        replay(zip(stamps.tolist(), values, strict=True), stream, [Closing()], speed=None)
    assert not error.value.retriable


class Time:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("speed", [0.5, 1.0, 20.0])
def test_samples_are_pushed_when_they_are_due(speed: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the stamps' own steps; out of order at once, and a clock that jumps back goes on from there."""
    time = Time()
    monkeypatch.setattr(module, "time", time)
    waits: list[float] = []

    class Telling:
        """A reading interrupts every second wait."""

        def next(self, seconds: float) -> None:
            waits.append(seconds)
            time.now += seconds / 2 if len(waits) % 2 else seconds

    clock = module._Clock(speed)
    stamps = [5.0, 6.0, 5.98, 6.1, 1.0, 1.0, 1.5]
    pushed = []
    for stamp in stamps:
        clock.wait(round(stamp * 1e9), Telling())  # type: ignore[arg-type]
        pushed.append((time.now - 100.0) * speed)
    np.testing.assert_allclose(pushed, [0, 1, 1, 1.1, 1.1, 1.1, 1.6])
    time.now += 60  # the machine was held up: what is overdue is pushed without a wait
    waits.clear()
    clock.wait(2_500_000_000, Telling())  # type: ignore[arg-type]
    assert waits == []


@pytest.fixture
def told(session: Session) -> tuple[list[dict[str, Any]], str, str]:
    """What JSON, lines and a terminal show of one replay, less the JSON's parsing."""
    stamps, values = recording()
    stream = session.stream("vectors", **SETTINGS)
    outs = io.StringIO(), io.StringIO(), io.StringIO()
    shown = view(outs[0], stream.status, as_json=True), view(outs[1], stream.status), Live(outs[2], stream.status)
    replay(zip(stamps.tolist(), values, strict=True), stream, shown, speed=None)
    far = zip((stamps[-1] + STEP * np.arange(1, 41)).tolist(), np.full((40, WIDTH), 1e300), strict=True)
    replay(far, stream, shown, speed=None)
    for each in shown:
        each.close()
    return [json.loads(line) for line in outs[0].getvalue().splitlines()], outs[1].getvalue(), outs[2].getvalue()


def test_views(told: tuple[list[dict[str, Any]], str, str]) -> None:
    objects, lines, table = told
    *middle, last = objects
    readings = [each for each in middle if "nearest" in each]
    texts = [each for each in middle if "text" in each]
    failures = [each for each in middle if "error" in each]
    assert len(readings) + len(texts) + len(failures) == len(middle)
    assert failures
    assert [(each["start_ns"], each["end_ns"]) for each in texts] == [
        (each["start_ns"], each["end_ns"]) for each in readings
    ]
    assert all(a["start_ns"] < b["start_ns"] for a, b in pairwise(readings))
    assert set(readings[0]) == {"start_ns", "end_ns", "nearest", "unlike_anything_seen", "age_ms"}
    assert set(readings[0]["nearest"][0]) == {"label", "distance"}
    assert last["status"]["counts"]["pushed"] == 140
    found = lines.splitlines()
    assert found[0].startswith("     0.48 s  left (")
    assert found[1].startswith('     0.48 s  "')
    assert "of stream vectors could not be read" in lines
    assert found[-1].startswith("140 samples, ")
    assert "duplicates 1, not finite 1, gaps 1" in found[-1]
    assert "140 samples" in table
    assert "right" in table


def test_an_unlike_window_is_marked(session: Session) -> None:
    out, stream = io.StringIO(), session.stream("vectors", **SETTINGS)
    samples = zip((STEP * np.arange(30)).tolist(), np.full((30, WIDTH), 50.0), strict=True)
    replay(samples, stream, [view(out, stream.status)], speed=None, text=False)
    assert out.getvalue().strip().endswith(", unlike anything seen")


def test_rerun_gets_everything(session: Session, tmp_path: Path) -> None:
    rerun = pytest.importorskip("rerun")
    from semi.streams.rerun_log import RerunLog

    stamps, values = recording()
    stream = session.stream("vectors", **SETTINGS)
    log = RerunLog(tmp_path / "toy.rrd", "vectors")
    replay(zip(stamps.tolist(), values, strict=True), stream, [log], speed=None)
    log.close()
    assert (tmp_path / "toy.rrd").read_bytes()[:3] == b"RRF"
    assert rerun.get_global_data_recording() is None


def test_without_rerun_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from semi.streams.rerun_log import RerunLog

    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(InputError) as error:
        RerunLog(tmp_path / "toy.rrd", "vectors")
    assert "pip install 'semi-llm[rerun]'" in str(error.value)
