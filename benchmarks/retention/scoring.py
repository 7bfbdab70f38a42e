"""Absolute scores of a language model and a connector on a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.retention.models import Connector, turns_of
from benchmarks.retention.tasks import Example, batches
from semi.language_model import LanguageModel
from semi.metrics import attribute_accuracy, vocabulary

BATCH = 32


@torch.no_grad()
def score(reader: LanguageModel, connector: Connector | None, examples: Sequence[Example]) -> dict[str, Any]:
    """How well answers are foretold and written, greedily, up to the longest true answer's length.

    Returns:
        "n"; "loss", nats a token of the true answers; "accuracy", the share of their facts that the written answers
        state (`semi.metrics.attribute_accuracy`); "exact", the share of written answers that are the true ones.
    """
    longest = max(len(reader.answer_tokens(example.answer)) for example in examples)
    nats, tokens, written = 0.0, 0, list[str]()
    for batch in batches(examples, BATCH):
        read = reader.prefill([[turn] for turn in turns_of(batch, connector)])
        own, count = read.losses([example.answer for example in batch])
        nats, tokens = nats + float(own.sum()), tokens + int(count.sum())
        written += read.write(max_new_tokens=longest)
    attributes = [example.attributes for example in examples]
    right = [text.lower() == example.answer.lower() for text, example in zip(written, examples, strict=True)]
    accuracy = attribute_accuracy(written, attributes, vocabulary(attributes))
    return {"n": len(examples), "loss": nats / tokens, "accuracy": accuracy, "exact": sum(right) / len(right)}


@torch.no_grad()
def loss(reader: LanguageModel, connector: Connector | None, examples: Sequence[Example]) -> float:
    """Nats a token of the true answers, end of turn included."""
    nats, tokens = 0.0, 0
    for batch in batches(examples, BATCH):
        own, count = reader.answer_loss([[turn] for turn in turns_of(batch, connector)])
        nats, tokens = nats + float(own.sum()), tokens + int(count.sum())
    return nats / tokens
