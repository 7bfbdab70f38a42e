"""An adaptation in its thread: what it gives is what `adapt` gives, it can be stopped, and only one is at work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semi.adaptation import adapt
from semi.errors import InputError, OutputError, PairsError, SemiError
from semi.foundation import Foundation
from semi.integration import Integration
from semi.methods import DEFAULTS
from semi.modality import Encoder, Modality
from semi.pairs import Pair
from semi.settings import Settings
from semi.ui.job import Job, Order, divide
from semi.ui.workshop import Workshop
from semi.vectors import Vectors
from tests.ui.conftest import toy_pairs


@pytest.fixture
def order() -> Order:
    kind = Vectors()
    pairs = [replace(pair, sample=kind.parse(pair.sample)) for pair in toy_pairs(16)]
    return Order(kind, pairs[:12], pairs[12:], Settings())


def test_it_gives_what_adapt_gives(workshop: Workshop, order: Order, tiny_foundation: Foundation) -> None:
    job = workshop.start(order)
    assert job.wait(120)
    assert job.state == "done", job.error
    alone = adapt(tiny_foundation, Vectors(), order.pairs)
    outcome = workshop.outcome()
    for name, tensor in alone.projector.state_dict().items():
        assert torch.equal(outcome.after.projector.state_dict()[name], tensor), name
    assert outcome.after.record.metrics == alone.record.metrics
    assert outcome.before.record.settings["steps"] == 0
    assert [answer.caption for answer in outcome.answers] == [pair.caption for pair in order.held]
    stages = [stage for stage, _ in job.progress.stages]
    assert stages[-2:] == ["diagnosing", "answering on pairs kept back"]
    assert "learning" in stages


def test_it_says_how_far_each_phase_is(workshop: Workshop, order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int, int]] = []
    tell = Job._told

    def listen(job: Job, step: int, note: str) -> None:
        tell(job, step, note)
        now = job.progress
        told.append((now.stages[-1][0], now.step, now.total))

    monkeypatch.setattr(Job, "_told", listen)
    assert workshop.start(order).wait(120)
    for stage, total in (("finding the number of steps", DEFAULTS["semi"].probe), ("learning", 16)):
        steps = [(step, of) for name, step, of in told if name == stage]
        assert steps
        assert {of for _, of in steps} == {total}, stage
        assert all(step <= of for step, of in steps)


def test_one_at_a_time_and_stopped_when_told(workshop: Workshop, order: Order) -> None:
    job = workshop.start(replace(order, settings=Settings(steps=10**6)))
    with pytest.raises(InputError, match="at work already"):
        workshop.start(order)
    with pytest.raises(InputError, match="learning vectors"), workshop.working("answering"):
        pass
    job.cancel()
    assert job.wait(60)
    assert job.state == "cancelled"
    with pytest.raises(InputError, match="nothing was learned"):
        workshop.outcome()
    with workshop.working("answering"):
        pass


def test_what_it_fails_with_is_kept(order: Order) -> None:
    def broken() -> Foundation:
        raise SemiError("no foundation today")

    over = Event()
    job = Job(order, broken, over.set)
    assert job.wait(10)
    assert over.is_set()
    assert job.state == "failed"
    assert "today" in str(job.error)


def test_only_what_can_be_streamed_is_offered_for_it(
    workshop: Workshop, order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Still(Modality):
        """Of no stream."""

        name = "still"
        instruction = "Look."

        def encoder(self, name: str | None = None) -> Encoder:
            raise NotImplementedError

    assert workshop.start(replace(order, settings=Settings(steps=1, diagnose=False))).wait(120)
    workshop.save("toys")
    (workshop.folder / "damaged").mkdir()
    (workshop.folder / "damaged" / "integration.json").write_text("{", "utf-8")
    assert workshop.streamed() == ["toys"]
    monkeypatch.setattr("semi.ui.workshop.load_modality", lambda name: Still())
    assert workshop.streamed() == []


def test_saved_under_a_name_and_found_again(workshop: Workshop, order: Order) -> None:
    assert workshop.start(replace(order, settings=Settings(steps=1, diagnose=False))).wait(120)
    assert workshop.saved() == []
    folder = workshop.save("toys")
    assert workshop.saved() == ["toys"]
    assert Integration.modality_of(folder) == "vectors"
    assert workshop.parts("toys").memory.labels == workshop.integration("toys").memory.labels
    foundation = workshop.parts("toys").record.foundation
    (workshop.folder / "damaged").mkdir()
    (workshop.folder / "damaged" / "integration.json").write_text("{", "utf-8")
    assert list(workshop.adapters(foundation)) == ["toys"]
    assert workshop.adapters("another") == {}
    with pytest.raises(OutputError):
        workshop.save("toys")
    assert workshop.save("toys", force=True) == folder


@pytest.mark.parametrize("name", ["", "..", "a/b", "/tmp/x", ".hidden", "a" * 65, "a\n"], ids=repr)
def test_a_path_is_no_name(workshop: Workshop, name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no name"):
        workshop.save(name)
    with pytest.raises(InputError, match="no such integration"):
        workshop.parts(name)
    assert not any(tmp_path.iterdir())


def test_what_was_dropped_is_deleted(foundation_folder: Path, tmp_path: Path) -> None:
    workshop = Workshop(foundation_folder, tmp_path)
    first, second = workshop.drop(), workshop.drop()
    first.mkdir(parents=True)
    assert first != second
    workshop.close()
    assert not first.exists()


@given(n=st.integers(2, 40), shots=st.integers(1, 40), held=st.integers(0, 45), seed=st.integers(0, 3))
def test_pairs_are_divided(n: int, shots: int, held: int, seed: int) -> None:
    pairs = [Pair(i, str(i)) for i in range(n)]
    if held >= n:
        with pytest.raises(PairsError, match="all pairs are kept back"):
            divide(pairs, shots, held, seed)
        return
    learned, kept = divide(pairs, shots, held, seed)
    assert len(kept) == held
    assert len(learned) == min(shots, n - held)
    assert {pair.sample for pair in learned}.isdisjoint({pair.sample for pair in kept})
    assert divide(pairs, shots, held, seed) == (learned, kept)
