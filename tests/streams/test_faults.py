from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from semi.streams.counts import Counts
from semi.streams.cutter import Cutter
from semi.streams.session import Session
from semi.streams.settings import StreamSettings
from semi.streams.stream import Stream
from tests.streams.faults import OF_WINDOWS, SETTINGS, STEP, faulty, resident


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_every_fault_is_counted_exactly_and_memory_stays_flat() -> None:
    expected, cutter = Counts(), Cutter(StreamSettings(**SETTINGS))
    after_warmup = 0
    for number, (stamp, sample) in enumerate(faulty(600, expected)):
        if cutter.push(stamp, sample):
            cutter.take()
        if number == 20_000:
            after_warmup = resident()
    assert resident() - after_warmup < 2**20
    found = cutter.counts()
    of_samples = {name: value for name, value in asdict(found).items() if name not in OF_WINDOWS}
    assert of_samples == {name: value for name, value in asdict(expected).items() if name not in OF_WINDOWS}
    assert found.windows == found.invalid + found.given
    assert found.restarts == found.late / 100 == 10


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """Threads take turns a hundred times as often, so that one is interrupted wherever it may be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("quick_switches")
def test_counts_add_up_when_eight_threads_push_four_streams_and_two_read(integration_folder: Path) -> None:
    each = 8_000
    with Session.load(integration_folder, text_worker=None) as session:
        streams = [
            session.stream("vectors", rate_hz=50.0, window_s=0.4, hop_s=0.1, out_of_order=policy, tolerance_s=60.0)
            for policy in ("drop", "sort", "drop", "sort")
        ]
        done = threading.Event()
        given = [0, 0]
        wrong: list[Counts] = []

        def push(stream: Stream, half: int) -> None:
            sample = np.full(4, float(half))
            for i in range(each):
                stream.push((2 * i + half) * STEP, sample)
                if i % 50 == 0:
                    stream.push(0, sample)  # late, or a duplicate

        def read(reader: int) -> None:
            while not done.is_set():
                for stream in streams:
                    given[reader] += stream.async_read(timeout_ms=1) is not None
                    counts = stream.counts()
                    waiting = counts.windows - counts.invalid - counts.skipped - counts.given
                    told = counts.stored + counts.late + counts.duplicates + counts.not_finite
                    if counts.pushed != told or waiting not in (0, 1):
                        wrong.append(counts)

        pushing = [threading.Thread(target=push, args=(stream, half)) for stream in streams for half in (0, 1)]
        reading = [threading.Thread(target=read, args=(reader,)) for reader in (0, 1)]
        for thread in pushing + reading:
            thread.start()
        for thread in pushing:
            thread.join()
        done.set()
        for thread in reading:
            thread.join()
        assert not wrong
        for stream in streams:
            assert stream.counts().pushed == 2 * (each + each // 50)
            assert stream.status()["latency_ms"]["push"]["n"] == stream.counts().pushed
            assert stream.latest() is not None
        assert 0 < sum(given) <= sum(stream.counts().given for stream in streams)
