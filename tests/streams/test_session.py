from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

import semi
from semi.errors import InputError, SessionError
from semi.integration import Integration
from semi.streams.session import Session
from semi.streams.stream import Stream
from semi.streams.windows import cut
from tests.streams.conftest import PLACES
from tests.streams.recordings import MS

WINDOWS: dict[str, Any] = {"rate_hz": 50.0, "window_s": 0.2, "hop_s": 0.2}
LONG = 20_000
"""ms; nothing takes that long."""


@pytest.fixture
def session(integration_folder: Path) -> Iterator[Session]:
    with Session.load(integration_folder, device="cpu", max_new_tokens=4) as opened:
        yield opened


@pytest.fixture
def labels(integration_folder: Path) -> Iterator[Session]:
    with Session.load(integration_folder, text_worker=None) as opened:
        yield opened


def show(stream: Stream, name: str, start_ns: int = 0, samples: int = 21) -> None:
    """At 100 Hz; 21 samples are more than a window."""
    place = PLACES.get(name, [50.0] * 4)
    for i in range(samples):
        stream.push(start_ns + 10 * MS * i, place)


def test_labels_follow_the_sensor(labels: Session) -> None:
    stream = labels.stream("vectors", **WINDOWS)
    for number, name in enumerate((*PLACES, "nowhere")):
        show(stream, name, 1000 * MS * number)
        reading = stream.async_read(LONG)
        assert reading is not None
        assert reading.unlike_anything_seen == (name == "nowhere")
        assert name == "nowhere" or reading.nearest[0].label == name
        assert reading.end_ns - reading.start_ns == 180 * MS
        assert reading.age_ms >= 0
        assert stream.latest() is reading
        assert stream.latest(max_age_ms=-1) is None
        assert stream.async_read(0) is None  # it was given
    status = labels.status()["vectors"]
    json.dumps(status, allow_nan=False)
    counts = status["counts"]
    assert counts["windows"] == counts["given"] + counts["invalid"] + counts["skipped"]
    assert status["latency_ms"]["push"]["n"] == 84
    assert status["latency_ms"]["label"]["n"] == counts["given"]


def test_a_live_reading_is_that_of_the_recording(labels: Session, integration_folder: Path) -> None:
    g = np.random.default_rng(3)
    stamps = np.cumsum(g.integers(4 * MS, 6 * MS, 100)).tolist()
    values = g.normal(size=(100, 4))
    stream = labels.stream("vectors", **WINDOWS)
    live = []
    for stamp, row in zip(stamps, values, strict=True):
        if stream.push(stamp, row):
            live.append(stream.async_read(LONG))
    windows, counts = cut(stamps, values, stream.settings)
    integration = Integration.load(integration_folder, device="cpu")
    assert len(live) == len(windows) == counts.given > 1
    for reading, window in zip(live, windows, strict=True):
        assert reading is not None
        sample = integration.modality.window(window.values, 50.0)
        assert reading.embedding.tobytes() == integration.embed([sample]).numpy()[0].tobytes()
        assert reading.nearest == integration.memory.nearest(integration.embed([sample])[0])


def test_several_streams_are_told_apart(labels: Session) -> None:
    streams = {name: labels.stream("vectors", **WINDOWS) for name in PLACES}
    assert [stream.name for stream in streams.values()] == ["vectors", "vectors-2", "vectors-3"]
    for name, stream in streams.items():
        show(stream, name)
    for name, stream in streams.items():
        reading = stream.async_read(LONG)
        assert reading is not None
        assert reading.nearest[0].label == name


def test_a_window_that_cannot_be_read_is_told_and_the_next_one_is_read(labels: Session) -> None:
    stream, beside = (labels.stream("vectors", **WINDOWS) for _ in range(2))
    show(beside, "up")
    for i in range(21):
        stream.push(10 * MS * i, [1e300] * 4)  # beyond float32
    with pytest.raises(SessionError, match="window 0 of stream vectors could not be read") as error:
        stream.async_read(LONG)
    assert error.value.retriable
    assert "stamps 0 to 180000000" in str(error.value)
    assert stream.status()["failed"] == 1
    assert "float32" in stream.status()["error"]
    show(stream, "up", 1000 * MS)
    for each in (stream, beside):
        reading = each.async_read(LONG)
        assert reading is not None
        assert reading.nearest[0].label == "up"


def test_text_is_that_of_the_integration(session: Session, integration_folder: Path) -> None:
    stream = session.stream("vectors", **WINDOWS)
    plain, asked = stream.ask(), stream.ask("What is it?")
    show(stream, "left")
    integration = Integration.load(integration_folder, device="cpu")
    for future, question in ((plain, None), (asked, "What is it?")):
        answer = future.result(60)
        assert answer.question == question
        row = torch.from_numpy(answer.reading.embedding)[None]
        assert [answer.text] == integration.texts(row, [question or integration.record.instruction], max_new_tokens=4)
    assert stream.status()["latency_ms"]["text"]["n"] == 2


def test_text_without_being_asked(session: Session) -> None:
    stream = session.stream("vectors", **WINDOWS, texts=True)
    show(stream, "left")
    deadline = time.monotonic() + 60
    while stream.latest_text() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    answer = stream.latest_text()
    assert answer is not None
    assert answer.reading.nearest[0].label == "left"


def test_questions_do_not_pile_up(session: Session) -> None:
    stream = session.stream("vectors", **WINDOWS)
    futures = [stream.ask() for _ in range(16)]  # there is no window yet
    with pytest.raises(SessionError, match="wait already") as error:
        stream.ask()
    assert error.value.retriable
    assert all(future.cancel() for future in futures[1:])
    show(stream, "left")
    assert futures[0].result(60).reading.nearest[0].label == "left"


def test_without_a_language_model_there_is_no_text(labels: Session) -> None:
    with pytest.raises(InputError, match="no language model"):
        labels.stream("vectors", **WINDOWS).ask()
    with pytest.raises(InputError, match="no language model"):
        labels.stream("vectors", **WINDOWS, texts=True)


def test_whoever_waits_is_told_of_the_end(integration_folder: Path) -> None:
    session = Session.load(integration_folder, device="cpu")
    stream = session.stream("vectors", **WINDOWS)
    raised: list[SessionError] = []

    def read() -> None:
        try:
            stream.async_read()
        except SessionError as error:
            raised.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    future = stream.ask()
    session.close()
    session.close()
    reader.join(LONG / 1e3)
    with pytest.raises(SessionError, match="closed"):
        future.result(1)
    for call in (stream.latest, stream.ask, session.warmup, lambda: stream.push(0, [1.0])):
        with pytest.raises(SessionError, match="closed") as error:
            call()
        raised.append(error.value)
    assert [error.retriable for error in raised] == [False] * 5


def test_close_ends_a_text_that_is_being_written(integration_folder: Path) -> None:
    session = Session.load(integration_folder, device="cpu", max_new_tokens=100_000)
    session.warmup()
    stream = session.stream("vectors", **WINDOWS)
    future = stream.ask()
    show(stream, "left")
    while not future.running() and not future.done():
        time.sleep(0.01)
    session.close()
    assert future.done()


def test_a_callback_may_close_the_session(integration_folder: Path) -> None:
    session = Session.load(integration_folder, device="cpu", max_new_tokens=1)
    stream = session.stream("vectors", **WINDOWS)
    done = threading.Event()
    stream.ask().add_done_callback(lambda _: (session.close(), done.set()))
    show(stream, "left")
    assert done.wait(60)
    session.close()


def test_open_and_close_leave_nothing_behind(integration_folder: Path) -> None:
    def left() -> tuple[int, int]:
        gc.collect()
        descriptors = Path("/proc/self/fd")
        return threading.active_count(), len(list(descriptors.iterdir())) if descriptors.exists() else 0

    def once(text_worker: Literal["thread"] | None) -> None:
        with Session.load(integration_folder, device="cpu", text_worker=text_worker, max_new_tokens=1) as session:
            stream = session.stream("vectors", **WINDOWS)
            show(stream, "left")
            stream.async_read(LONG)
            if text_worker:
                stream.ask().result(60)

    once("thread")
    before = left()
    for text_worker in (None,) * 20 + ("thread",) * 3:
        once(text_worker)
    assert left() == before


def test_a_robots_process_sees_no_bar_and_keeps_no_thread(integration_folder: Path) -> None:
    script = (
        "import sys, threading, semi;"
        "session = semi.Session.load(sys.argv[1], device='cpu', max_new_tokens=1);"
        "stream = session.stream('vectors', rate_hz=50.0, window_s=0.2, hop_s=0.2);"
        "[stream.push(10_000_000 * i, [1.0, 0.0, 0.0, 0.0]) for i in range(21)];"
        "stream.ask().result(60);"
        "session.close();"
        "print(*(thread.name for thread in threading.enumerate()), sep=',')"
    )
    command = [sys.executable, "-c", script, str(integration_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("MainThread\n", "")


def test_a_program_may_end_without_closing_while_a_text_is_written(integration_folder: Path) -> None:
    script = (
        "import sys, time, semi\n"
        "session = semi.Session.load(sys.argv[1], device='cpu', max_new_tokens=10_000)\n"
        "stream = session.stream('vectors', rate_hz=50.0, window_s=0.2, hop_s=0.2)\n"
        "for i in range(21): stream.push(10_000_000 * i, [1.0, 0.0, 0.0, 0.0])\n"
        "asked = stream.ask('What else?')\n"  # nothing is recalled: a random language model writes on and on
        "while not asked.running(): time.sleep(0.01)\n"
        "time.sleep(0.3)\n"
        "assert asked.running()\n"
    )
    command = [sys.executable, "-c", script, str(integration_folder)]
    for _ in range(3):
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert (done.returncode, done.stderr) == (0, "")


def test_nothing_global_changes(integration_folder: Path) -> None:
    def world() -> tuple[object, ...]:
        return (
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            dict(os.environ),
            [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
        )

    before = world()
    with Session.load(integration_folder, device="cpu", max_new_tokens=2) as session:
        session.warmup()
        stream = session.stream("vectors", **WINDOWS)
        show(stream, "left")
        stream.ask().result(60)
        assert world() == before
    assert world() == before


def test_a_process_writes_the_same_text_dies_comes_back_and_ends(integration_folder: Path) -> None:
    with Session.load(integration_folder, device="cpu", text_worker="process", max_new_tokens=4) as session:
        writer: Any = session._writer
        assert writer.pid is None
        stream = session.stream("vectors", **WINDOWS)
        show(stream, "left")
        answer = stream.ask().result(60)
        integration = Integration.load(integration_folder, device="cpu")
        row = torch.from_numpy(answer.reading.embedding)[None]
        assert [answer.text] == integration.texts(row, [integration.record.instruction], max_new_tokens=4)
        if hasattr(os, "SCHED_IDLE"):  # every thread of it: one that is not would keep a sample waiting
            policies = {os.sched_getscheduler(int(thread)) for thread in os.listdir(f"/proc/{writer.pid}/task")}
            assert policies == {os.SCHED_IDLE}
        os.kill(writer.pid, signal.SIGKILL)  # with nothing to do
        while writer.pid is not None:
            time.sleep(0.01)
        assert stream.ask().result(60).text == answer.text
        os.kill(writer.pid, signal.SIGSTOP)
        asked = stream.ask()
        while not asked.running():
            time.sleep(0.01)
        os.kill(writer.pid, signal.SIGKILL)
        with pytest.raises(SessionError, match="ended") as error:
            asked.result(60)
        assert error.value.retriable
        assert stream.ask().result(60).text == answer.text
        pid = writer.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_process_ends_with_its_input_even_while_it_works(integration_folder: Path) -> None:
    """Its input ends when its parent does, however that ends."""
    command = [sys.executable, "-m", "semi.streams.text_process", json.dumps([str(integration_folder)]), "cpu"]
    for request in (b"", b"{}\n"):
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            process.communicate(request, timeout=60)
            assert process.returncode == 0


def test_wrong_use_is_refused(labels: Session, integration_folder: Path) -> None:
    with pytest.raises(InputError, match="no such modality"):
        labels.stream("imu", **WINDOWS)
    labels.stream("vectors", **WINDOWS, name="wrist")
    with pytest.raises(InputError, match="that name"):
        labels.stream("vectors", **WINDOWS, name="wrist")
    for rate in (-1.0, "50"):
        with pytest.raises(InputError, match="rate_hz"):
            labels.stream("vectors", **WINDOWS | {"rate_hz": rate})
    with pytest.raises(InputError, match="different modalities"):
        Session.load(integration_folder, integration_folder, text_worker=None)
    with pytest.raises(InputError, match="different modalities"):
        Session.load()
    with pytest.raises(InputError, match="text_worker"):
        Session.load(integration_folder, text_worker="fork")  # type: ignore[arg-type]


def test_a_stream_of_which_nothing_can_be_read_is_given_up(labels: Session) -> None:
    stream = labels.stream("vectors", **WINDOWS)
    for number, retriable in enumerate((True, True, False)):
        for i in range(21):
            stream.push(1000 * MS * number + 10 * MS * i, (1.0, 2.0))  # the integration has four
        with pytest.raises(SessionError, match="of stream vectors could not be read") as error:
            stream.async_read(LONG)
        assert error.value.retriable is retriable
        assert str(error.value).count("got:") == 1
    seen = labels.stream("vectors", **WINDOWS)
    show(seen, "left")
    assert seen.async_read(LONG) is not None
    for number in range(1, 6):
        for i in range(21):
            seen.push(1000 * MS * number + 10 * MS * i, (1e300,) * 4)
        with pytest.raises(SessionError) as error:
            seen.async_read(LONG)
        assert error.value.retriable


def test_stamps_of_another_unit_are_refused(labels: Session) -> None:
    """Microseconds given as ns: a window would take hours, and the ring would never hold one."""
    stream = labels.stream("vectors", **WINDOWS | {"window_s": 2.0})
    for i in range(100):
        stream.push(20_000 * i, PLACES["left"])
    with pytest.raises(InputError, match="stamps are too close") as error:
        stream.push(20_000 * 100, PLACES["left"])
    assert "nanoseconds" in str(error.value)
    with pytest.raises(InputError, match="stamps are too close"):
        stream.push_many([20_000 * 101], [PLACES["left"]])
    assert stream.counts().pushed == 100


@pytest.mark.parametrize("sample", [("1", "2", "3", "4"), "1234", None, (None,) * 4], ids=repr)
def test_text_and_nothing_are_no_samples(labels: Session, sample: Any) -> None:
    stream = labels.stream("vectors", **WINDOWS)
    with pytest.raises(InputError, match="not a sample"):
        stream.push(0, sample)
    assert stream.counts().pushed == 0


def test_another_number_of_channels_is_said_before_what_does_not_fit_it(labels: Session) -> None:
    stream = labels.stream("vectors", **WINDOWS, limits=(9.0,) * 4)
    with pytest.raises(InputError, match="limits and channels"):
        stream.push(0, (1.0, 2.0))
    stream.push(0, PLACES["left"])
    with pytest.raises(InputError, match="another number of channels") as error:
        stream.push(1, (1.0, 2.0))
    assert (error.value.got, error.value.expected) == (2, 4)


def test_a_reading_prints_on_a_line(labels: Session) -> None:
    stream = labels.stream("vectors", **WINDOWS)
    show(stream, "left")
    assert "embedding" not in repr(stream.async_read(LONG))


def test_the_library_offers_it() -> None:
    assert semi.Session is Session
