"""Questions about samples of one or several modalities, and their answers by one language model, several at once."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from semi.errors import InputError
from semi.integration import Integration
from semi.language_model import LanguageModel
from semi.prompts import Turn
from semi.recall import Recollection
from semi.streams.joint import JointProjector


@dataclass(frozen=True, eq=False)
class Request:
    """A question about samples."""

    samples: tuple[tuple[str, np.ndarray], ...]
    """Modality and embedding (d_enc,) or (t, d_enc) of each, in the order of the placeholders."""
    instruction: str
    """With one placeholder `<|modality|>` for each sample, or with none: the samples stand in front then."""


class Composer:
    """Answers requests.

    The pairs that an integration shows beside its samples stand in front, those of the first sample first. What it
    recalls has a say where one sample is asked about as its pairs were.

    Args:
        integrations: by modality, over one language model.
    """

    def __init__(self, integrations: Mapping[str, Integration]) -> None:
        self._integrations = dict(integrations)
        self._projector = JointProjector(integrations)

    def write(
        self, requests: Sequence[Request], max_new_tokens: int, stop: Callable[[], bool] | None = None
    ) -> list[str]:
        """Greedy text for each request; all of them are read and written in one batch.

        One by one the same prompts give the same text, up to the rounding of sums in another order.

        Args:
            stop: asked after each token whether to end there.

        Raises:
            InputError: another number of placeholders than samples, or samples of modalities that a merge of language
                models keeps apart.
        """
        conversations = self.conversations(requests)
        models = [self._model(request) for request in requests]
        texts = [""] * len(requests)
        for model in {each.sha256: each for each in models}.values():  # several of a merge, one at a time
            members = [i for i, own in enumerate(models) if own.sha256 == model.sha256]
            recall = [self._recalled(requests[i]) for i in members]
            read = model.prefill([conversations[i] for i in members], recall)
            for i, text in zip(members, read.write(max_new_tokens=max_new_tokens, stop=stop), strict=True):
                texts[i] = text
        return texts

    def conversations(self, requests: Sequence[Request]) -> list[list[Turn]]:
        """What the language model reads of each request; their soft tokens are computed together."""
        samples = [sample for request in requests for sample in request.samples]
        soft = iter(self._projector.soft([(name, torch.from_numpy(embedding)) for name, embedding in samples]))
        found = []
        for request in requests:
            shown = [turn for name, embedding in request.samples for turn in self._shown(name, embedding)]
            own = tuple(next(soft) for _ in request.samples)
            found.append([*shown, Turn(own, request.instruction, "")])
        return found

    def _shown(self, name: str, embedding: np.ndarray) -> list[Turn]:
        (turns,) = self._integrations[name].shown(torch.from_numpy(embedding)[None]) or [[]]
        return turns

    def _recalled(self, request: Request) -> Recollection | None:
        if len(request.samples) != 1:
            return None
        ((name, embedding),) = request.samples
        return self._integrations[name].recalled(torch.from_numpy(embedding), request.instruction)

    def _model(self, request: Request) -> LanguageModel:
        models = [self._integrations[name].language_model for name, _ in request.samples]
        if len({model.sha256 for model in models}) > 1:
            raise InputError(
                "one prompt cannot mix modalities that a merge of language models keeps apart",
                got=", ".join(name for name, _ in request.samples),
                do="ask about them one by one, or adapt them to one language model",
            )
        return models[0]


def to_json(request: Request) -> dict[str, Any]:
    """The request for another process; embeddings in float32, bit by bit."""
    rows = [(name, np.ascontiguousarray(embedding, np.float32)) for name, embedding in request.samples]
    samples = [[name, row.shape, base64.b64encode(row.tobytes()).decode()] for name, row in rows]
    return {"samples": samples, "instruction": request.instruction}


def from_json(request: dict[str, Any]) -> Request:
    """What `to_json` made."""
    samples = tuple(
        (name, np.frombuffer(base64.b64decode(numbers), np.float32).reshape(shape).copy())
        for name, shape, numbers in request["samples"]
    )
    return Request(samples, request["instruction"])
