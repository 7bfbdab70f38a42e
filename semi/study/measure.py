"""One cell: shots, an adaptation, and what it is worth on the held-out samples."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import torch

from semi.adaptation import adapt
from semi.artifacts import config_hash, read_json, read_manifest, rebuilding
from semi.errors import SemiError
from semi.evaluation import Evaluation, evaluate
from semi.foundation import Foundation
from semi.hub import find_foundation
from semi.integration import Integration
from semi.methods import METHODS
from semi.metrics import attribute_accuracy, vocabulary
from semi.modality import Modality
from semi.pairs import Pair
from semi.study.config import read_settings
from semi.study.results import Line

SCORES = ("loss", "loss_shuffled", "rouge_l", "bleu_4", "meteor", "cider_d", "attribute_accuracy", "cosine")


@dataclass(frozen=True)
class Adapted:
    """An integration made for a cell."""

    integration: Integration
    support: list[Pair]
    seconds: float


@lru_cache(maxsize=1)
def foundation_in_memory(name: str) -> Foundation:
    """The foundation, kept for the next cell."""
    return Foundation.load(name)


def foundation_sha256(name: str) -> dict[str, str]:
    """Of what is read of a foundation by each method, without loading it; raises as `Foundation.load`.

    A new hypernetwork changes nothing for a baseline, and a new projector nothing for "scratch". "semi" is named with
    the kind of hypernetwork, and without it for the foundation's default.
    """
    folder = find_foundation(name)
    files = read_manifest(folder, Foundation.KIND)["files"]
    described = read_json(folder / Foundation.FILES[0])
    with rebuilding(folder / Foundation.FILES[0], "foundation"):
        written = [described.pop("hypernetwork"), *described.pop("others", [])]
        projector, *weights = Foundation.weight_files([each["kind"] for each in written])
        scratch = [described[key] for key in sorted(described)]
        baseline = [*scratch, files[projector]["sha256"]]
        semi = {
            each["kind"]: config_hash([*baseline, each, files[f]["sha256"]])
            for each, f in zip(written, weights, strict=True)
        }
    found = dict.fromkeys(METHODS, config_hash(baseline)) | {"scratch": config_hash(scratch)}
    return found | {f"semi/{kind}": sha256 for kind, sha256 in semi.items()} | {"semi": next(iter(semi.values()))}


def make(
    foundation: Foundation, modality: Modality, support: list[Pair], settings: dict[str, Any], seed: int
) -> Adapted:
    """Adapt, on the clock. Pairs left out tell nothing new where there are held-out samples: no diagnosis."""
    chosen = read_settings(settings, seed=seed)
    begun = time.perf_counter()
    integration = adapt(foundation, modality, support, settings=chosen)
    return Adapted(integration, support, time.perf_counter() - begun)


def score(foundation: Foundation, integration: Integration, held_out: Sequence[Pair], generate: int) -> Evaluation:
    """Losses over all held-out pairs, scores of text over the first `generate` of them.

    Raises:
        SemiError: the loss is not finite.
    """
    scores = evaluate(integration, held_out, texts=generate, text_encoder=foundation.text_encoder)
    if not all(map(math.isfinite, (scores.loss, scores.loss_shuffled))):
        raise SemiError("the loss is not finite", got=scores.loss, do="lower the learning rate of the method")
    return scores


def as_line(
    foundation: Foundation, made: Adapted, scores: Evaluation, held_out: Sequence[Pair], seconds: float
) -> Line:
    """Everything that was measured, JSON-able; `seconds` were spent on scoring."""
    shots, truths = {pair.caption for pair in made.support}, [pair.caption for pair in held_out]
    wrong, facts = facts_missed(scores.texts, held_out)
    return {
        "n": scores.n,
        **{name: getattr(scores, name) for name in SCORES},
        "nats": [round(value, 5) for value in scores.nats],
        "tokens": scores.tokens,
        "texts": scores.texts,
        "facts_missed": wrong,
        "facts": facts,
        "seconds": round(made.seconds, 3),
        "seconds_scoring": round(seconds, 3),
        "shots": len(made.support),
        "steps": made.integration.record.settings["steps"],
        "settings": made.integration.record.settings,
        "captions_shots": len(shots),
        "captions_held_out": len(set(truths)),
        "captions_shared": sum(caption in shots for caption in truths) / len(truths),
        "foundation_sha256": foundation.sha256,
        "versions": {"semi": version("semi-llm"), "torch": torch.__version__},
        "device": str(foundation.language_model.device),
        "computed_in": str(foundation.language_model.input_embeddings().dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
    }


def facts_missed(texts: Sequence[str], pairs: Sequence[Pair]) -> tuple[list[int], list[int]]:
    """For each text the attributes that it does not state, and how many its pair has."""
    attributes = [pair.attributes for pair in pairs[: len(texts)]]
    values = vocabulary(attributes)
    counts = [len(one) for one in attributes]
    shares = [attribute_accuracy([t], [a], values) or 0.0 for t, a in zip(texts, attributes, strict=True)]
    return [n - round(share * n) for n, share in zip(counts, shares, strict=True)], counts
