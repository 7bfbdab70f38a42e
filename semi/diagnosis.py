"""What the pairs say about an adaptation: loss and accuracy on pairs left out, doubtful pairs, more shots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from semi.brief import brief
from semi.errors import InputError
from semi.evaluation import caption_nats
from semi.fitting import Fitter
from semi.language_model import LanguageModel
from semi.methods import READERS
from semi.pairs import Pair
from semi.recall import Told
from semi.training.loop import generator

CANDIDATES = 8
"""Captions a left-out sample's own one has to beat: itself and up to 7 others of the support set."""
FEW = 3
"""A class with fewer shots than this is reported."""
WORST = 3


def diagnose(fitter: Fitter, *, steps: int, examples: int = 0) -> dict[str, Any]:
    """Everything `semi adapt` reports at its end; JSON-able.

    The loss is of pairs with others shown before them and their captions recalled, as in use; captions are compared
    with none shown and nothing recalled, so that it is the sample that tells them apart and not its neighbours.

    Args:
        steps: as many as the adaptation took.
        examples: pairs that it shows beside a sample.
    """
    pairs, seed, model = fitter.pairs, fitter.settings.seed, fitter.foundation.language_model
    instructions = fitter.instructions
    k = len(pairs)
    if k < 4:
        return {"note": "fewer than 4 pairs: nothing can be left out"}
    try:
        soft, protocol = fitter.left_out(steps)
    except InputError as error:  # e.g. all but one pair have the same embedding
        return {"note": f"nothing can be left out: {error.what}"}
    losses = _candidate_losses(soft, model, pairs, instructions, seed)  # per pair, its own caption first
    own = [row[0][1] for row in losses]
    everything = fitter.everything
    begun = fitter.begin(everything)
    told = Told.joined(fitter.told(everything, soft, fitter.others(begun, everything, soft, examples)))
    recall = fitter.weighed(begun, everything, told)
    right = [min(row, key=lambda c: c[1])[0] == pair.caption for row, pair in zip(losses, pairs, strict=True)]
    margins = [
        (own[i] - min(loss for _, loss in row[1:]), min(row[1:], key=lambda c: c[1])[0]) if row[1:] else (0.0, "")
        for i, row in enumerate(losses)
    ]
    doubtful = sorted((i for i in range(k) if margins[i][0] > 0), key=lambda i: -margins[i][0])[:WORST]
    return {
        "protocol": protocol,
        "loss": round(recall.loss if recall else float(told.nats.mean()), 4),
        "examples": examples,
        "accuracy": round(sum(right) / k, 4),
        "chance": round(sum(1 / len(row) for row in losses) / k, 4),
        "worst": [
            {"sample": brief(pairs[i].sample, 60), "caption": pairs[i].caption, "likelier": margins[i][1],
             "margin": round(margins[i][0], 3)}
            for i in doubtful
        ],
        "few_shots": _few(pairs),
        "more": _more(fitter) if fitter.settings.method in READERS and k >= 16 else None,
    }  # fmt: skip


def _candidate_losses(
    soft: Tensor, model: LanguageModel, pairs: Sequence[Pair], instructions: Sequence[str], seed: int
) -> list[list[tuple[str, float]]]:
    """For every pair, (caption, loss per token) of its own caption and of some other distinct ones.

    Each is less the caption's loss given the average sample: what counts is what the sample adds, not how plain the
    words are.
    """
    distinct = sorted({pair.caption for pair in pairs})
    rows: list[list[str]] = []
    for i, pair in enumerate(pairs):
        others = [caption for caption in distinct if caption != pair.caption]
        picks = torch.randperm(len(others), generator=generator(seed, i))[: CANDIDATES - 1].tolist()
        rows.append([pair.caption, *(others[j] for j in picks)])
    owner = [i for i, row in enumerate(rows) for _ in row]
    words = [caption for row in rows for caption in row]
    nats, tokens = caption_nats(model, soft[torch.tensor(owner)], [instructions[i] for i in owner], words)
    average = soft.mean(0, keepdim=True).expand(len(distinct), -1, -1)
    plain_nats, plain_tokens = caption_nats(model, average, [instructions[0]] * len(distinct), distinct)
    plain = dict(zip(distinct, (plain_nats / plain_tokens).tolist(), strict=True))
    values = iter(v - plain[c] for v, c in zip((nats / tokens).tolist(), words, strict=True))
    return [[(caption, next(values)) for caption in row] for row in rows]


def _more(fitter: Fitter) -> dict[str, Any] | None:
    """Loss on the same left-out pairs from a quarter and from half of the pairs; what twice as many would bring.

    Part of what more pairs bring is a better guess of the average caption, which wrong labels bring as well; the rest
    is telling samples apart. Both are given.
    """
    k, model = len(fitter.pairs), fitter.foundation.language_model
    sizes = (k // 4, k // 2)
    losses, told = [], []
    for size in sizes:
        nats, plain_nats, tokens = 0.0, 0.0, 0.0
        for draw in range(2):
            order = torch.randperm(k, generator=generator(fitter.settings.seed, 99, draw))
            held = order[k // 2 :]  # the same for both sizes, so that only the number of shots differs
            try:
                soft = fitter.begin(order[:size]).soft(fitter.embeddings[held])
            except InputError:  # so few of the pairs can be alike
                return None
            asked, words = fitter.words(held)
            loss, count = caption_nats(model, soft, asked, words)
            plain, _ = caption_nats(model, soft.mean(0, keepdim=True).expand_as(soft), asked, words)
            nats, plain_nats = nats + float(loss.sum()), plain_nats + float(plain.sum())
            tokens += float(count.sum())
        losses.append(nats / tokens)
        told.append((plain_nats - nats) / tokens)
    fall, apart = losses[0] - losses[1], told[1] - told[0]
    if fall <= 0.01:
        sentence = (
            f"From {sizes[0]} to {sizes[1]} pairs the loss on left-out pairs did not fall: look at the labels or the "
            "encoder before you collect more."
        )
    else:
        sentence = (
            f"From {sizes[0]} to {sizes[1]} pairs the loss on left-out pairs fell by {fall:.2f}, {max(0.0, apart):.2f} "
            f"of it by telling samples apart; if that goes on, {2 * k} pairs instead of {k} would bring up to "
            f"{fall:.2f} more."
        )
    return {"shots": list(sizes), "loss": [round(x, 4) for x in losses], "told": [round(x, 4) for x in told],
            "sentence": sentence}  # fmt: skip


def _few(pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Attribute values with very few shots, fewest first."""
    counts = Counter((slot, value) for pair in pairs for slot, value in pair.attributes.items())
    rare = sorted((n, slot, value) for (slot, value), n in counts.items() if n < FEW)
    return [{"slot": slot, "value": value, "shots": n} for n, slot, value in rare]
