"""Several streams of several modalities over one language model: one batch, one prompt, and each closed alone."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from semi.adaptation import adapt
from semi.errors import InputError, PairsError, SessionError
from semi.foundation import Foundation
from semi.integration import Integration
from semi.pairs import Pair
from semi.prompts import Turn
from semi.streams.composing import Composer, Request, from_json, to_json
from semi.streams.session import Session
from semi.streams.stream import Answer, Stream
from semi.streams.writers import ThreadWriter
from semi.vectors import Vectors
from tests.streams.recordings import MS

WINDOWS: dict[str, Any] = {"rate_hz": 50.0, "window_s": 0.2, "hop_s": 0.2}
WIDTHS = {"wrist": 4, "ankle": 9, "camera": 14}
EXAMPLES = {"wrist": 0, "ankle": 2, "camera": 1}
TWO = "Here <|modality|> and there <|modality|>: what is it?"
LONG = 20_000
"""ms; nothing takes that long."""


class Of(Vectors):
    """Vectors under a name of their own."""

    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc]


@pytest.fixture(scope="module")
def integrations(foundation_folder: Path, tiny_text_site: Path) -> dict[str, Integration]:
    """Two that share the foundation's projector, and one that was trained further; with pairs shown and without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tiny_text_site)
        foundation = Foundation.load(foundation_folder, device="cpu")
    made = {}
    for name, width in WIDTHS.items():
        g = np.random.default_rng(width)
        words = ("a red cat", "a blue car", "a small house")
        pairs = [Pair((g.normal(size=width) + 3 * np.eye(width)[i % 3]).tolist(), words[i % 3]) for i in range(9)]
        settings: dict[str, Any] = {"steps": int(name == "camera"), "examples": EXAMPLES[name], "diagnose": False}
        made[name] = adapt(foundation, Of(name), pairs, **settings)
    return made


class Recording(ThreadWriter):
    """Notes what it is asked; holds a batch back until it is let go."""

    def __init__(self, integrations: dict[str, Integration]) -> None:
        super().__init__(integrations)
        self.batches: list[Sequence[Request]] = []
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()

    def write(self, requests: Sequence[Request], max_new_tokens: int, unwanted: Any = lambda: False) -> list[str]:
        self.batches.append(requests)
        self.begun.set()
        self.go.wait(LONG / 1e3)
        return super().write(requests, max_new_tokens, unwanted)


@pytest.fixture
def writer(integrations: dict[str, Integration]) -> Recording:
    return Recording(integrations)


@pytest.fixture
def session(integrations: dict[str, Integration], writer: Recording) -> Iterator[Session]:
    with Session(integrations, writer, max_new_tokens=4) as opened:
        yield opened
        writer.go.set()


def show(stream: Stream, seed: int = 0, start_ns: int = 0) -> None:
    """21 samples at 100 Hz, more than a window; waits for its reading."""
    row = np.random.default_rng(seed).normal(size=WIDTHS[stream.modality.name])
    for i in range(21):
        stream.push(start_ns + 10 * MS * i, row)
    assert stream.async_read(LONG) is not None


def embedding(name: str, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=WIDTHS[name]).astype(np.float32)


def losses(integration: Integration, conversations: list[list[Turn]]) -> torch.Tensor:
    nats, _ = integration.language_model.prefill(conversations).losses(["a red car on the table"] * len(conversations))
    return nats


def test_a_batch_is_read_as_one_by_one(integrations: dict[str, Integration]) -> None:
    """Losses of an answer within 1e-4 nats, and the same texts; alone as by the integration itself."""
    composer = Composer(integrations)
    requests = [Request(((name, embedding(name, i)),), "What is it?") for i, name in enumerate([*WIDTHS, *WIDTHS])]
    requests.insert(2, Request((("wrist", embedding("wrist", 7)), ("camera", embedding("camera", 8))), TWO))
    any_of_them = integrations["wrist"]
    together = losses(any_of_them, composer.conversations(requests))
    alone = torch.cat([losses(any_of_them, composer.conversations([each])) for each in requests])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)
    texts = composer.write(requests, 4)
    assert texts == [composer.write([each], 4)[0] for each in requests]
    for request, text in zip(requests, texts, strict=True):
        if len(request.samples) == 1:
            [(name, numbers)] = request.samples
            row = torch.from_numpy(numbers)[None]
            assert [text] == integrations[name].texts(row, [request.instruction], max_new_tokens=4)


def test_each_placeholder_is_its_own_sample(integrations: dict[str, Integration]) -> None:
    first, second = ("wrist", embedding("wrist", 0)), ("camera", embedding("camera", 1))
    (conversation,) = Composer(integrations).conversations([Request((first, second), TWO)])
    *shown, turn = conversation
    assert len(shown) == EXAMPLES["wrist"] + EXAMPLES["camera"]
    for (name, numbers), soft in zip((first, second), turn.samples, strict=True):
        torch.testing.assert_close(soft, integrations[name].soft(torch.from_numpy(numbers)[None])[0], atol=1e-5, rtol=0)


def test_a_request_comes_through_json_bit_by_bit() -> None:
    request = Request((("wrist", embedding("wrist", 0)), ("a", np.float32([[1e-40, -0.0], [3, 4]]))), "What?")
    back = from_json(to_json(request))
    assert back.instruction == request.instruction
    for (name, numbers), (same, again) in zip(request.samples, back.samples, strict=True):
        assert (name, numbers.shape, numbers.tobytes()) == (same, again.shape, again.tobytes())


def test_what_is_due_at_once_is_one_batch_newest_window_first(session: Session, writer: Recording) -> None:
    streams = [session.stream(name, **WINDOWS) for name in WIDTHS]
    writer.go.clear()
    show(streams[0])
    first = streams[0].ask("Who?")
    assert writer.begun.wait(LONG / 1e3)
    futures = [stream.ask() for stream in streams]
    for i, stream in enumerate(streams):
        show(stream, i, 1000 * MS)
    writer.go.set()
    assert first.result(60).question == "Who?"
    answers = [future.result(60) for future in futures]
    assert [[name for name, _ in each.samples] for each in writer.batches[1]] == [["camera"], ["ankle"], ["wrist"]]
    assert len(writer.batches) == 2
    for stream, answer in zip(streams, answers, strict=True):
        assert answer.reading is stream.latest()
        assert stream.latest_text() is answer


def test_one_question_about_several_streams(session: Session, integrations: dict[str, Integration]) -> None:
    wrist, camera = (session.stream(name, **WINDOWS) for name in ("wrist", "camera"))
    future = session.ask(TWO, [camera, wrist])
    show(wrist, 1)
    assert not future.done()  # one of them has no window yet
    show(camera, 2)
    answer = future.result(60)
    readings = camera.latest(), wrist.latest()
    assert answer.readings == readings
    samples = tuple((reading.modality, reading.embedding) for reading in answer.readings)
    assert [answer.text] == Composer(integrations).write([Request(samples, TWO)], 4)
    assert camera.latest_text() is None
    assert session.ask("What is it?").result(60).readings == (wrist.latest(), camera.latest())


def test_a_sample_that_is_no_window_beside_one(session: Session, integrations: dict[str, Integration]) -> None:
    picture = session.read("camera", [1.0] * WIDTHS["camera"], 5 * MS)
    assert (picture.modality, picture.start_ns, picture.end_ns) == ("camera", 5 * MS, 5 * MS)
    sample = integrations["camera"].embed([np.ones(WIDTHS["camera"], np.float32)])[0]
    assert picture.nearest == integrations["camera"].memory.nearest(sample)
    wrist = session.stream("wrist", **WINDOWS)
    show(wrist)
    answer = session.ask(TWO, [picture, wrist]).result(60)
    assert answer.readings == (picture, wrist.latest())
    assert session.ask("What is it?", [picture]).result(60).reading is picture
    assert wrist.latest_text() is None
    with pytest.raises(InputError, match="no such modality"):
        session.read("ear", [1.0])
    with pytest.raises(PairsError):
        session.read("camera", "nothing.npy")


def test_wrong_questions_are_refused_at_once(session: Session, integrations: dict[str, Integration]) -> None:
    with pytest.raises(InputError, match="about nothing"):
        session.ask("What is it?")
    wrist = session.stream("wrist", **WINDOWS)
    with pytest.raises(InputError, match=r"2 <\|modality\|> placeholders for 1 samples"):
        session.ask(TWO)
    with pytest.raises(InputError, match=r"2 <\|modality\|> placeholders for 1 samples"):
        wrist.ask(TWO)
    with Session(integrations, None) as other:
        with pytest.raises(InputError, match="no language model"):
            other.ask("What is it?")
        with pytest.raises(InputError, match="another session"):
            session.ask("What is it?", [other.stream("wrist", **WINDOWS)])
    wrist.close()
    with pytest.raises(SessionError, match="the stream is closed"):
        session.ask("What is it?", [wrist])
    session.close()
    with pytest.raises(SessionError, match="the session is closed"):
        session.ask("What is it?")


def test_one_that_cannot_be_written_does_not_fail_the_others(session: Session, writer: Recording) -> None:
    wrist, camera = (session.stream(name, **WINDOWS) for name in ("wrist", "camera"))
    writer.go.clear()
    show(wrist)
    first = wrist.ask()
    assert writer.begun.wait(LONG / 1e3)
    good, bad = wrist.ask(), camera.ask("\ud800")  # half of a character, which no tokenizer takes
    show(camera)
    writer.go.set()
    assert isinstance(good.result(60), Answer)
    assert isinstance(first.result(60), Answer)
    with pytest.raises(SessionError, match="could not be written") as error:
        bad.result(60)
    assert error.value.retriable


def test_a_closed_stream_leaves_nothing_and_the_others_go_on(session: Session, writer: Recording) -> None:
    wrist, camera = session.stream("wrist", **WINDOWS, texts=True), session.stream("camera", **WINDOWS)
    waiting: Future[Answer] = camera.ask()
    raised: list[SessionError] = []

    def read() -> None:
        try:
            wrist.async_read()
        except SessionError as error:
            raised.append(error)

    show(wrist)
    reader = threading.Thread(target=read)
    reader.start()
    writer.go.clear()
    writer.begun.clear()
    beside, own = session.ask("What?", [wrist, camera]), session.ask("What?", [wrist])
    assert writer.begun.wait(LONG / 1e3)
    wrist.close()
    wrist.close()
    reader.join(LONG / 1e3)
    for future in (beside, own):
        with pytest.raises(SessionError, match="the stream is closed"):
            future.result(0)
    for call in (wrist.ask, wrist.latest, lambda: wrist.push(0, [0.0] * 4)):
        with pytest.raises(SessionError, match="the stream is closed") as error:
            call()
        raised.append(error.value)
    assert [error.retriable for error in raised] == [False] * 4
    writer.go.set()
    show(camera)
    assert waiting.result(60).reading is camera.latest()
    assert set(session.status()) == {"camera"}
    assert wrist.counts().pushed == 21


def test_a_text_that_nobody_waits_for_any_more_ends(integrations: dict[str, Integration]) -> None:
    with Session(integrations, ThreadWriter(integrations), max_new_tokens=100_000) as session:
        wrist, camera = (session.stream(name, **WINDOWS) for name in ("wrist", "camera"))
        future = wrist.ask()
        show(wrist)
        while not future.running():
            time.sleep(0.001)
        wrist.close()
        assert future.done()
        waits = camera.ask()
        show(camera)
        while not waits.running():  # its turn comes
            time.sleep(0.001)


def test_a_stream_of_the_same_name_starts_anew(session: Session) -> None:
    first = session.stream("wrist", **WINDOWS, name="left")
    show(first)
    first.ask().result(60)
    gone = weakref.ref(first)
    first.close()
    second = session.stream("camera", **WINDOWS, name="left")
    first.close()  # again: the second keeps its name
    del first
    show(second)
    second.ask().result(60)
    gc.collect()
    assert gone() is None
    assert list(session.status()) == ["left"]
    assert second.counts().pushed == 21
    with pytest.raises(InputError, match="that name"):
        session.stream("wrist", **WINDOWS, name="left")
