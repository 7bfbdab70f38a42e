"""Samples to soft tokens: whatever waits goes through encoders and projector together."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

import torch
from torch import Tensor

from semi.encoding import embed
from semi.errors import SemiError
from semi.integration import Integration, pool
from semi.memory import Neighbour
from semi.prompts import Turn
from semi.serve.batches import Batches
from semi.serve.refusal import Refusal, ended, wrong_input
from semi.serve.samples import Sample
from semi.streams.joint import JointProjector

AT_ONCE = 32
"""Samples in a batch, as in `semi.encoding`."""
PREFIX = "semi-serve-"
"""Of the temporary folder that a file of a client's lies in."""
_FOLDER = re.compile(rf"[^\s'\"]*{PREFIX}\w+/?")


@dataclass(frozen=True, eq=False)
class Read:
    """What is known of a sample before the language model reads it."""

    modality: str
    embedding: Tensor
    """(d_enc,) or (t, d_enc)."""
    soft: Tensor
    """Soft tokens (t, d_lm)."""
    shown: list[Turn]
    """Pairs of the support set that stand in front of it."""
    nearest: list[Neighbour]
    unlike: bool


@dataclass(frozen=True, eq=False)
class _Job:
    modality: str
    sample: Sample
    future: Future[Read] = field(default_factory=Future)


class Reader:
    """One thread for encoders, which may be anything, and the projector.

    Samples of several modalities go through the projector in one pass, each with the adapter of its own, where
    `semi.streams.joint.JointProjector` can do so.

    Args:
        integrations: by modality.
        observe: told the size of each batch.
    """

    def __init__(self, integrations: Mapping[str, Integration], observe: Callable[[int], None]) -> None:
        self._integrations, self._observe = dict(integrations), observe
        self._projector = JointProjector(integrations)
        self._batches: Batches[_Job] = Batches(AT_ONCE)
        self._thread = Thread(target=self._run, name="semi reader", daemon=True)
        self._thread.start()

    def read(self, modality: str, sample: Sample) -> Future[Read]:
        """A sample read; the future fails with a `Refusal`. One that is cancelled in time costs nothing."""
        job = _Job(modality, sample)
        if not self._batches.put(job):
            job.future.set_exception(ended())
        return job.future

    def close(self, timeout_s: float) -> None:
        """End the thread after its batch; what waits fails."""
        for job in self._batches.close():
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(ended())
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while jobs := self._batches.take():
            wanted = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            if wanted:
                self._observe(len(wanted))
                for job, outcome in zip(wanted, self._outcomes(wanted), strict=True):
                    if isinstance(outcome, Read):
                        job.future.set_result(outcome)
                    else:
                        job.future.set_exception(outcome)
            del jobs, wanted  # nothing of a client's is held while there is nothing to do

    def _outcomes(self, jobs: Sequence[_Job]) -> list[Read | Exception]:
        embeddings = self._embeddings(jobs)
        fine = [i for i, found in enumerate(embeddings) if isinstance(found, Tensor)]
        outcomes: list[Any] = list(embeddings)
        try:
            soft = self._projector.soft([(jobs[i].modality, embeddings[i]) for i in fine])
            for i, tokens in zip(fine, soft, strict=True):
                outcomes[i] = self._known(jobs[i].modality, embeddings[i], tokens)
        except Exception as error:  # out of memory, an alignment that does not fit: the thread lives on
            if len(jobs) > 1:
                return [self._outcomes([job])[0] for job in jobs]
            return [unreadable(error, jobs[0].modality)]
        return outcomes

    def _known(self, modality: str, embedding: Tensor, soft: Tensor) -> Read:
        integration = self._integrations[modality]
        pooled = pool(embedding[None])[0]
        (shown,) = integration.shown(embedding[None]) or [[]]
        memory = integration.memory
        return Read(modality, embedding, soft, shown, memory.nearest(pooled), memory.unlike(pooled))

    def _embeddings(self, jobs: Sequence[_Job]) -> list[Any]:
        """Of each its embedding (d_enc,) or (t, d_enc), or what is wrong with it."""
        found: list[Any] = [None] * len(jobs)
        raw: dict[str, dict[int, Any]] = {}
        with ExitStack() as folders:  # an encoder may read a file that was sent
            for i, job in enumerate(jobs):
                folder = Path(folders.enter_context(TemporaryDirectory(prefix=PREFIX)))
                try:
                    parsed = job.sample.read(self._integrations[job.modality].modality, folder)
                    raw.setdefault(job.modality, {})[i] = parsed
                except Exception as error:  # plugins raise anything
                    found[i] = unreadable(error, job.modality)
            for modality, samples in raw.items():
                for i, outcome in zip(samples, self._encoded(modality, list(samples.values())), strict=True):
                    found[i] = outcome
        return found

    def _encoded(self, modality: str, samples: list[Any]) -> list[Tensor | Exception]:
        try:
            return list(torch.from_numpy(embed(self._integrations[modality].encoder, samples)))
        except Exception as error:
            if len(samples) > 1:  # one of them, and the others are fine
                return [self._encoded(modality, [sample])[0] for sample in samples]
            return [unreadable(error, modality)]


def unreadable(error: Exception, modality: str) -> Refusal:
    """What is told of a sample that its modality does not take; nothing of the folder it was read in."""
    if isinstance(error, SemiError):
        refusal = wrong_input(error, "data")
        refusal.message = _FOLDER.sub("", refusal.message)
    else:
        refusal = Refusal(400, "invalid_value", f"no sample of {modality}: {type(error).__name__}", "data")
    refusal.__cause__ = error
    return refusal
