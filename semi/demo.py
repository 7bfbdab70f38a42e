"""The demonstration: one modality from 32 pairs, side by side with what it is compared with, on held-out samples."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from semi.adaptation import adapt
from semi.evaluation import Evaluation, evaluate
from semi.foundation import Foundation
from semi.integration import Integration
from semi.modality import Modality
from semi.pairs import Pair
from semi.pairs_io import draw_shots, read_pairs
from semi.plugins import load_dataset, load_modality
from semi.settings import Settings


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    integration: Integration
    scores: Evaluation
    seconds: float
    """To adapt, language model in memory."""


@dataclass(frozen=True)
class Demonstration:
    """Everything the table and the report show."""

    modality: Modality
    dataset: str
    shots: int
    seed: int
    support: list[Pair]
    held_out: list[Pair]
    rows: list[Row]

    @property
    def adapted(self) -> Row:
        """The row of the finished integration."""
        return self.rows[2]


PLAN: tuple[tuple[str, Settings], ...] = (
    ("no adapter", Settings("finetune", steps=0, diagnose=False)),
    ("zero-step adapter", Settings("semi", steps=0, diagnose=False)),
    ("adapted", Settings("semi")),
    ("from scratch, same pairs", Settings("scratch", diagnose=False)),
)
"""Rows of the table. "No adapter" feeds the embeddings, scaled to text embeddings, to the shared projector as it is."""


def demonstrate(
    foundation: Foundation,
    dataset: str,
    *,
    shots: int = 32,
    seed: int = 0,
    held_out: int = 64,
    advance: Callable[[int, str], None] = lambda done, note: None,
) -> Demonstration:
    """Adapt and score every row of PLAN on the same shots of a data set's train split and pairs of its test split.

    Args:
        advance: told (stages done, note) at the beginning of each of the 2 * len(PLAN) stages and during it.
    """
    modality = load_modality(load_dataset(dataset).modality)
    train = read_pairs(dataset, modality=modality, split="train").pairs
    test = read_pairs(dataset, modality=modality, split="test").pairs
    support = draw_shots(train, shots, seed)
    chosen = draw_shots(test, min(held_out, len(test)), 0)  # the same for every seed of the shots
    rows = [_row(number, foundation, modality, support, chosen, seed, advance) for number in range(len(PLAN))]
    return Demonstration(modality, dataset, shots, seed, support, chosen, rows)


def _row(
    number: int,
    foundation: Foundation,
    modality: Modality,
    support: list[Pair],
    held_out: list[Pair],
    seed: int,
    advance: Callable[[int, str], None],
) -> Row:
    """One row of PLAN: two stages."""
    name, settings = PLAN[number]
    advance(2 * number, f"{name}: adapting")
    begun = time.perf_counter()
    integration = adapt(
        foundation,
        modality,
        support,
        settings=replace(settings, seed=seed),
        advance=lambda step, note: advance(2 * number, f"{name}: adapting, {note}"),
    )
    seconds = time.perf_counter() - begun
    advance(2 * number + 1, f"{name}: scoring {len(held_out)} held-out samples")
    return Row(name, integration, evaluate(integration, held_out), seconds)


def as_dict(demo: Demonstration) -> dict[str, object]:
    """The table as JSON."""
    return {
        "dataset": demo.dataset,
        "shots": demo.shots,
        "seed": demo.seed,
        "held_out": len(demo.held_out),
        "rows": [
            {
                "row": row.name,
                "loss": row.scores.loss,
                "loss_shuffled": row.scores.loss_shuffled,
                "rouge_l": row.scores.rouge_l,
                "attribute_accuracy": row.scores.attribute_accuracy,
                "seconds": round(row.seconds, 2),
            }
            for row in demo.rows
        ],
        "examples": [
            {"sample": str(pair.sample), "caption": pair.caption, "text": demo.adapted.scores.texts[i]}
            for i, pair in enumerate(demo.held_out[:5])
        ],
    }
