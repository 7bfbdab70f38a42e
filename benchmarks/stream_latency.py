"""What a robot has to know of streams: how long a push takes and how late it is, what is counted, what is left behind.

    python -m benchmarks.stream_latency my-imu --out benchmarks/results/stream-latency.json
    python -m benchmarks.stream_latency my-imu --quick

The integration is one of `imu`, made with any encoder. On an idle machine; 25 minutes, with `--quick` about one. Parts:

* realtime: 200 Hz for 5 minutes with bursts (20 samples in 2 ms), gaps, duplicates, a clock that jumps, NaN and
  saturated samples, three times: without text, with text written in a thread all the time, and in a process. `lateness`
  is from when a sample was due to when it was stored.
* hour: an hour of the same as fast as possible, with its counts and resident memory.
* label: from the sample that completes a window to its nearest label, one window at a time.
* contended: four threads push 10^6 samples into one stream while a fifth reads.
* rounds: 100 times a session with a language model is loaded, writes a text, and is closed.
"""

from __future__ import annotations

import argparse
import gc
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import semi
from benchmarks.processes import machine
from semi.artifacts import write_json
from semi.errors import SessionError
from semi.streams.counts import Counts
from semi.streams.session import TextWorker
from semi.streams.stream import Answer, Stream
from tests.streams.faults import OF_WINDOWS, SETTINGS, STEP, faulty, resident

BURST, BURST_STEP_S = 20, 1e-4
"""Once a second, 20 samples wait for the last of them, and come within 2 ms."""
PATIENCE_MS = 60_000


def realtime(folder: Path, seconds: int) -> dict[str, Any]:
    """Pushes on time, and the lateness with a generation as a multiple of that without."""
    workers: tuple[TextWorker | None, ...] = (None, "thread", "process")
    found: dict[str, Any] = {worker or "no text": on_time(folder, seconds, worker) for worker in workers}
    ratios = {}
    for quantity in ("push_ms", "lateness_ms"):
        p99 = {name: figures[quantity]["p99"] for name, figures in found.items()}
        ratios[quantity] = {name: round(p99[name] / p99["no text"], 2) for name in ("thread", "process")}
    return found | {"p99_as_multiple_of_no_text": ratios}


def on_time(folder: Path, seconds: int, text_worker: TextWorker | None) -> dict[str, Any]:
    """One sensor at 200 Hz in real time."""
    expected = Counts()
    samples = list(faulty(seconds, expected))
    took, late = np.zeros(len(samples)), np.zeros(len(samples))
    with semi.Session.load(folder, text_worker=text_worker) as session:
        session.warmup()
        stream = session.stream("imu", **SETTINGS)
        other = session.stream("imu", name="written about", **SETTINGS)
        if text_worker is not None:
            push_a_window(other)
            keep_asking(other)
        begun = time.perf_counter() + 0.1
        for i, ((stamp, sample), due) in enumerate(zip(samples, schedule(len(samples)), strict=True)):
            if (left := begun + due - time.perf_counter()) > 0:
                time.sleep(left)
            before = time.perf_counter()
            stream.push(stamp, sample)
            after = time.perf_counter()
            took[i], late[i] = 1e3 * (after - before), 1e3 * (after - begun - due)
        status = stream.status()
        return {
            "push_ms": summary(took),
            "lateness_ms": summary(late),
            "label_ms": status["latency_ms"]["label"],
            "texts": other.status()["latency_ms"]["text"]["n"],
            "counts": status["counts"],
            "counts_exact": exact(stream.counts(), expected),
        }


def push_a_window(stream: Stream) -> None:
    for i in range(401):
        stream.push(i * STEP, (0.1 * (i % 7), 0.0, 9.8, 0.0, 0.0, 0.0))


def keep_asking(stream: Stream, answered: Future[Answer] | None = None) -> None:
    """One text after the other, until the stream is closed."""
    with suppress(SessionError):
        stream.ask().add_done_callback(partial(keep_asking, stream))


def schedule(count: int) -> Iterator[float]:
    """When each sample is due, s after the first: every 5 ms, less those of a burst."""
    for i in range(count):
        place = i % 200 - (200 - BURST)  # in the burst at the end of each second, from 0 on
        last = (i - place + BURST - 1) * STEP / 1e9
        yield i * STEP / 1e9 if place < 0 else last - (BURST - 1 - place) * BURST_STEP_S


def hour(folder: Path, seconds: int) -> dict[str, Any]:
    """As fast as possible; memory once a tenth has gone by, and at the end."""
    expected, warm = Counts(), 0
    with semi.Session.load(folder, text_worker=None) as session:
        session.warmup()
        stream = session.stream("imu", **SETTINGS)
        for number, (stamp, sample) in enumerate(faulty(seconds, expected)):
            stream.push(stamp, sample)
            if number == 20 * seconds:
                warm = resident()
        status = stream.status()
        return {
            "push_ms": status["latency_ms"]["push"],
            "counts": status["counts"],
            "counts_exact": exact(stream.counts(), expected),
            "resident_growth_mb": round((resident() - warm) / 2**20, 2),
        }


def label(folder: Path, windows: int) -> dict[str, Any]:
    """Each window waits for the label of the one before it."""
    rows = np.random.default_rng(0).normal(size=(101, 6))
    with semi.Session.load(folder, text_worker=None) as session:
        session.warmup()
        stream = session.stream("imu", **SETTINGS | {"hop_s": 2.0})
        sealed = 0
        for i in range(windows * 400 + 400):
            if stream.push(i * STEP, rows[i % len(rows)]):
                sealed += 1
                if stream.async_read(PATIENCE_MS) is None:
                    raise TimeoutError("a window was not read")
            if sealed == windows:
                break
        latency: dict[str, Any] = stream.status()["latency_ms"]["label"]
        return {"label_ms": latency, "threads_of_torch": torch.get_num_threads()}


def contended(folder: Path, pushes: int) -> dict[str, Any]:
    """Four threads, one stream, samples of all of them interleaved by stamp."""
    each = pushes // 4
    row = np.random.default_rng(0).normal(size=6)
    with semi.Session.load(folder, text_worker=None) as session:
        session.warmup()
        stream = session.stream("imu", **SETTINGS | {"out_of_order": "sort", "tolerance_s": 60.0})
        done = threading.Event()
        threads = [threading.Thread(target=push_every_fourth, args=(stream, first, each, row)) for first in range(4)]
        reader = threading.Thread(target=read, args=(stream, done))
        begun = time.perf_counter()
        for thread in [*threads, reader]:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - begun
        done.set()
        reader.join()
        counts = stream.counts()
        waiting = counts.windows - counts.invalid - counts.skipped - counts.given
        told = counts.stored + counts.late + counts.duplicates + counts.not_finite
        return {
            "pushes_a_second": round(4 * each / took),
            "push_ms": stream.status()["latency_ms"]["push"],
            "counts": asdict(counts),
            "counts_exact": counts.pushed == told == 4 * each and waiting in (0, 1),
        }


def push_every_fourth(stream: Stream, first: int, each: int, row: np.ndarray) -> None:
    for i in range(each):
        stream.push((4 * i + first) * STEP, row)


def read(stream: Stream, done: threading.Event) -> None:
    while not done.is_set():
        stream.async_read(10)


def rounds(folder: Path, count: int) -> dict[str, Any]:
    """What one round leaves, and what all of them leave; the first ones allocate what is allocated once."""
    first = min(5, count)
    for _ in range(first):
        one_round(folder)
    before, begun = left(), time.perf_counter()
    for _ in range(count):
        one_round(folder)
    after = left()
    seconds = round((time.perf_counter() - begun) / count, 3)
    return {"rounds": count, "seconds_each": seconds, "before": before, "after": after}


def one_round(folder: Path) -> None:
    with semi.Session.load(folder, max_new_tokens=4) as session:
        stream = session.stream("imu", **SETTINGS)
        future = stream.ask()
        push_a_window(stream)
        future.result(PATIENCE_MS / 1e3)


def left() -> dict[str, float]:
    """Resident memory, threads and open files of this process."""
    gc.collect()
    return {
        "resident_mb": round(resident() / 2**20, 1),
        "threads": threading.active_count(),
        "files": len(list(Path("/proc/self/fd").iterdir())),
    }


def exact(found: Counts, expected: Counts) -> bool:
    """Whether the counts of samples are those that the faults must lead to, and those of windows add up."""
    wanted = {name: value for name, value in asdict(expected).items() if name not in OF_WINDOWS}
    return wanted.items() <= asdict(found).items() and found.windows - found.invalid - found.skipped - found.given in (
        0,
        1,
    )


def summary(ms: np.ndarray) -> dict[str, float]:
    """n, p50, p99 and max."""
    p50, p99 = np.percentile(ms, (50, 99))
    return {"n": len(ms), "p50": round(float(p50), 4), "p99": round(float(p99), 4), "max": round(float(ms.max()), 4)}


PARTS = {"realtime": (realtime, 300, 6), "hour": (hour, 3600, 60), "label": (label, 500, 20)}
PARTS |= {"contended": (contended, 1_000_000, 20_000), "rounds": (rounds, 100, 3)}
"""What to call, how much of it, and how much with --quick."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("integration", type=Path, help="what `semi adapt imu` wrote")
    parser.add_argument("--quick", action="store_true", help="a hundredth of it, to see that it works")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this one; may be given again")
    parser.add_argument("--out", type=Path, help="a JSON file")
    chosen = parser.parse_args()
    found: dict[str, Any] = {"machine": machine(), "integration": str(chosen.integration), "quick": chosen.quick}
    for name in chosen.part or PARTS:
        call, amount, quick = PARTS[name]
        found[name] = call(chosen.integration, quick if chosen.quick else amount)
        print(json.dumps({name: found[name]}, indent=2), flush=True)
    if chosen.out:
        write_json(chosen.out, found)


if __name__ == "__main__":
    main()
