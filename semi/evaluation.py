"""How well an integration describes held-out pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from semi.candidates import CANDIDATES
from semi.errors import PluginError, SemiError
from semi.integration import BATCH, Integration
from semi.language_model import LanguageModel
from semi.metrics import attribute_accuracy, bleu_4, cider_d, cosine, meteor, rouge_l, vocabulary
from semi.modality import Encoder
from semi.pairs import Pair
from semi.plugins import Metric
from semi.prompts import Turn


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
    """Generated text for each of the first pairs, as many as were asked for; what the scores of text are of."""
    nats: list[float]
    """Of each pair's caption, its own sample given, summed over the caption's tokens."""
    tokens: list[int]
    """Of each pair's caption; `loss` is the sum of `nats` over the sum of these."""


def evaluate(
    integration: Integration,
    pairs: Sequence[Pair],
    *,
    texts: int | None = None,
    candidates: int = CANDIDATES,
    text_encoder: Encoder | None = None,
) -> Evaluation:
    """Score an integration on pairs whose samples are parsed.

    Args:
        texts: for how many of the pairs, the first ones, text is written and scored; None: for all.
        candidates: texts to choose each of these from, see `semi.integration.Integration.describe`.
        text_encoder: what measures how near the texts are in meaning, e.g. `foundation.text_encoder`.
    """
    wanted = len(pairs) if texts is None else min(texts, len(pairs))
    embeddings = integration.embed([pair.sample for pair in pairs])
    instructions = [pair.instruction or integration.record.instruction for pair in pairs]
    captions = [pair.caption for pair in pairs]
    others = captions[1:] + captions[:1]
    matched, shuffled, written = [], [], []
    for at in (*spans(0, wanted), *spans(wanted, len(pairs))):
        read = integration.prefill(embeddings[at], instructions[at])
        matched.append(read.losses(captions[at]))
        shuffled.append(read.losses(others[at]))
        written += read.write(candidates=candidates) if at.start < wanted else []
    (nats, tokens), (nats_shuffled, tokens_shuffled) = _joined(matched), _joined(shuffled)
    told, attributes = captions[:wanted], [pair.attributes for pair in pairs[:wanted]]
    return Evaluation(
        n=len(pairs),
        loss=float(nats.sum() / tokens.sum()),
        loss_shuffled=float(nats_shuffled.sum() / tokens_shuffled.sum()),
        rouge_l=rouge_l(written, told) if written else None,
        bleu_4=bleu_4(written, told) if written else None,
        meteor=meteor(written, told) if written else None,
        cider_d=cider_d(written, told) if written else None,
        attribute_accuracy=attribute_accuracy(written, attributes, vocabulary(attributes)) if written else None,
        cosine=cosine(written, told, text_encoder) if written and text_encoder else None,
        texts=written,
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
    parts = [
        model.caption_loss(soft[at], instructions[at], captions[at], examples[at] if examples is not None else None)
        for at in spans(0, len(captions))
    ]
    return _joined(parts)


def spans(first: int, end: int) -> list[slice]:
    """From `first` up to `end` in batches that the language model reads at once."""
    return [slice(i, min(i + BATCH, end)) for i in range(first, end, BATCH)]


def _joined(parts: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    return torch.cat([nats for nats, _ in parts]), torch.cat([tokens for _, tokens in parts])
