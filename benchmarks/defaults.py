"""Chooses steps and learning rate of every adaptation method, on modalities that are nobody's target.

    python benchmarks/defaults.py --foundation runs/foundation --out benchmarks/results/defaults.json

A held-out procedural modality (a seed no training used) and the emoji validation split; 32 shots, loss on 48 others
after every ten steps. The rate with the lowest mean of best losses becomes the default in semi/methods.py; how many
steps are taken is found on the pairs themselves. The baselines get as many rates to choose from as SEMI does.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from semi.artifacts import write_json
from semi.evaluation import caption_loss
from semi.foundation import Foundation
from semi.methods import METHODS, Method, Support, start
from semi.pairs_io import draw_shots, read_pairs
from semi.plugins import load_modality
from semi.procedural import ProceduralModality
from semi.training.loop import Schedule, train

RATES: dict[Method, tuple[float, ...]] = {
    "semi": (1e-4, 4e-4),
    "scratch": (5e-4, 2e-3, 5e-3),
    "finetune": (1e-4, 4e-4),
    "lora": (2e-3, 1e-2),
}
STEPS: dict[Method, int] = {"semi": 40, "scratch": 70, "finetune": 40, "lora": 40}
EVERY = 10
SHOTS, HELD_OUT = 32, 48


@dataclass(frozen=True)
class Task:
    """Embeddings and captions of a support set and of held-out samples."""

    name: str
    x: Tensor
    captions: list[str]
    held_x: Tensor
    held_captions: list[str]


def procedural(seed: int) -> Task:
    x, pairs = ProceduralModality.draw(seed).sample(SHOTS + HELD_OUT, seed=1)
    words = [pair.caption for pair in pairs]
    return Task(f"procedural-{seed}", x[:SHOTS], words[:SHOTS], x[SHOTS:], words[SHOTS:])


def emoji() -> Task:
    modality = load_modality("image")
    pairs = draw_shots(read_pairs("emoji:validation", modality=modality).pairs, SHOTS + HELD_OUT, 0)
    x = torch.from_numpy(modality.encoder().encode([pair.sample for pair in pairs]))
    words = [pair.caption for pair in pairs]
    return Task("emoji", x[:SHOTS], words[:SHOTS], x[SHOTS:], words[SHOTS:])


def curve(foundation: Foundation, task: Task, method: Method, lr: float) -> list[float]:
    """Held-out loss after 0, EVERY, 2 EVERY, ... steps."""
    instruction = "Describe this."
    support = Support(task.x, foundation.embed_texts(task.captions), foundation.embed_texts([instruction]))
    begun = start(method, support, foundation.projector, foundation.hypernetwork, seed=0)
    z, held = begun.alignment(task.x), begun.alignment(task.held_x)
    model = foundation.language_model

    def batch_loss(_: torch.Generator) -> Tensor:
        nats, tokens = model.caption_loss(begun.module.soft(z), [instruction] * len(z), task.captions)
        return nats.sum() / tokens.sum()

    @torch.no_grad()
    def validate() -> float:
        return caption_loss(model, begun.module.soft(held), [instruction] * len(held), task.held_captions)

    # A constant rate: the curve then holds for every number of steps at once.
    schedule = Schedule(STEPS[method], lr, warmup=5, final_lr=1.0, validate_every=EVERY)
    return [v["loss"] for v in train(begun.module, batch_loss, schedule, validate=validate).validations]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--foundation", required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    foundation = Foundation.load(options.foundation)
    tasks = [procedural(100_000), emoji()]
    chosen: dict[str, object] = {}
    curves: dict[str, dict[str, list[list[float]]]] = {}
    for method in METHODS:
        curves[method] = {}
        for lr in RATES[method]:
            curves[method][str(lr)] = [
                [round(loss, 2) for loss in curve(foundation, task, method, lr)] for task in tasks
            ]
            print(method, lr, curves[method][str(lr)], flush=True)
        # Early stopping finds the step, so a rate is worth its best step on each task.
        best = {lr: sum(map(min, rows)) / len(rows) for lr, rows in curves[method].items()}
        lr_best = min(best, key=best.__getitem__)
        chosen[method] = {"lr": float(lr_best), "most_steps": STEPS[method], "mean_best_loss": round(best[lr_best], 4)}
    result = {"tasks": [task.name for task in tasks], "every": EVERY, "chosen": chosen, "curves": curves}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, result)
    print(json.dumps(chosen, indent=2))


if __name__ == "__main__":
    main()
