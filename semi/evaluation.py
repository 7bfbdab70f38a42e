"""How well an integration describes held-out pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semi.errors import PluginError, SemiError
from semi.integration import Integration
from semi.language_model import LanguageModel
from semi.metrics import attribute_accuracy, bleu_4, cider_d, cosine, meteor, rouge_l, vocabulary
from semi.modality import Encoder
from semi.pairs import Pair
from semi.plugins import Metric
from semi.prompts import Turn

LOSS_BATCH = 32


@dataclass(frozen=True)
class Evaluation:
    """Scores over n held-out pairs."""

    n: int
    loss: float
    """Caption loss, nats per token, tokens of all captions together."""
    loss_shuffled: float
    """The same with each caption given to another sample: what is left when the sample says nothing."""
    rouge_l: float | None
    bleu_4: float | None
    meteor: float | None
    cider_d: float | None
    attribute_accuracy: float | None
    """None where the pairs have no attributes."""
    cosine: float | None
    """Mean cosine of the text encoder's embeddings of generated and true captions; None without a text encoder."""
    texts: list[str]
    """Generated text for each pair; empty if none was asked for."""
    nats: list[float]
    """Of each pair's caption, its own sample given, summed over the caption's tokens."""
    tokens: list[int]
    """Of each pair's caption; `loss` is the sum of `nats` over the sum of these."""


def evaluate(
    integration: Integration, pairs: Sequence[Pair], *, generate: bool = True, text_encoder: Encoder | None = None
) -> Evaluation:
    """Score an integration on pairs whose samples are parsed.

    Args:
        generate: also write text for each sample, which the scores of text need; the slow part.
        text_encoder: what measures how near the texts are in meaning, e.g. `foundation.text_encoder`.
    """
    embeddings = integration.embed([pair.sample for pair in pairs])
    instructions = [pair.instruction or integration.record.instruction for pair in pairs]
    captions = [pair.caption for pair in pairs]
    soft, examples = integration.soft(embeddings), integration.shown(embeddings)
    model = integration.language_model
    nats, tokens = caption_nats(model, soft, instructions, captions, examples)
    shuffled = caption_loss(model, soft, instructions, captions[1:] + captions[:1], examples)
    texts = integration.texts(embeddings, instructions) if generate else []
    attributes = [pair.attributes for pair in pairs]
    return Evaluation(
        n=len(pairs),
        loss=float(nats.sum() / tokens.sum()),
        loss_shuffled=shuffled,
        rouge_l=rouge_l(texts, captions) if texts else None,
        bleu_4=bleu_4(texts, captions) if texts else None,
        meteor=meteor(texts, captions) if texts else None,
        cider_d=cider_d(texts, captions) if texts else None,
        attribute_accuracy=attribute_accuracy(texts, attributes, vocabulary(attributes)) if texts else None,
        cosine=cosine(texts, captions, text_encoder) if texts and text_encoder else None,
        texts=texts,
        nats=nats.tolist(),
        tokens=tokens.tolist(),
    )


def apply_metric(metric: Metric, texts: Sequence[str], pairs: Sequence[Pair]) -> float:
    """A plugin's score of generated texts, checked.

    Raises:
        PluginError: the metric failed, or gave no finite number.
    """
    do = "report it to the author of its plugin, or leave --metric out"
    try:
        score: object = metric.score(list(texts), list(pairs))
    except SemiError:
        raise
    except Exception as error:
        raise PluginError(f"the metric {metric.name} failed", got=f"{type(error).__name__}: {error}", do=do) from error
    if not isinstance(score, int | float | np.floating) or not math.isfinite(score):
        raise PluginError(f"the metric {metric.name} gave no score", got=repr(score), expected="a finite number", do=do)
    return float(score)


def caption_loss(
    model: LanguageModel,
    soft: Tensor,
    instructions: Sequence[str],
    captions: Sequence[str],
    examples: Sequence[Sequence[Turn]] | None = None,
) -> float:
    """Mean caption loss per token of any number of soft tokens (n, t, d_lm), in batches, without gradient."""
    nats, tokens = caption_nats(model, soft, instructions, captions, examples)
    return float(nats.sum() / tokens.sum())


@torch.no_grad()
def caption_nats(
    model: LanguageModel,
    soft: Tensor,
    instructions: Sequence[str],
    captions: Sequence[str],
    examples: Sequence[Sequence[Turn]] | None = None,
) -> tuple[Tensor, Tensor]:
    """Summed nats and tokens of each caption, (n,) and (n,), in batches, without gradient.

    Args:
        examples: for each sample, turns that stand before its own.
    """
    spans = [slice(i, i + LOSS_BATCH) for i in range(0, len(captions), LOSS_BATCH)]
    parts = [
        model.caption_loss(soft[at], instructions[at], captions[at], examples[at] if examples is not None else None)
        for at in spans
    ]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])
