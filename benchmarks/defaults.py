"""Chooses steps and learning rate of every adaptation method, on data that are nobody's target and in no training.

    python benchmarks/own_data.py --out runs/own
    python benchmarks/defaults.py --foundation smollm2-135m --data runs/own --out benchmarks/results/defaults.json

The three data sets of benchmarks/own_data.py; 32 shots, loss on 32 others after every eight steps. The rate with the
lowest mean of best losses becomes the default in semi/methods.py; how many steps are taken is found on the pairs
themselves. The baselines get as many rates to choose from as SEMI does. `--only METHOD` does a part.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch

from semi.artifacts import read_json, write_json
from semi.encoding import embed
from semi.fitting import Fitter
from semi.foundation import Foundation
from semi.methods import METHODS, Method, Support
from semi.pairs import Pair
from semi.pairs_io import draw_shots, read_pairs
from semi.plugins import load_modality
from semi.settings import Settings
from semi.training.loop import Schedule

RATES: dict[Method, tuple[float, ...]] = {
    "semi": (1e-4, 2e-4, 4e-4),
    "ridge": (1e-4, 2e-4, 4e-4),
    "scratch": (2e-3, 5e-3, 1e-2),
    "finetune": (2e-4, 4e-4, 1e-3),
    "lora": (2e-3, 5e-3, 1e-2),
    "bias": (2e-4, 4e-4, 1e-3),
}
STEPS: dict[Method, int] = {"semi": 40, "ridge": 40, "scratch": 72, "finetune": 72, "lora": 72, "bias": 72}
EXAMPLES: dict[Method, int] = {"semi": 8, "ridge": 8}
"""Pairs shown beside a sample; the other methods show none."""
EVERY = 8
SHOTS, HELD_OUT = 32, 32


@dataclass(frozen=True)
class Task:
    """Embeddings and captions; the first SHOTS of them support."""

    name: str
    x: torch.Tensor
    captions: list[str]


def read(file: Path) -> Task:
    kind = load_modality("vectors")
    pairs = draw_shots(read_pairs(file, modality=kind).pairs, SHOTS + HELD_OUT, 0)
    x = torch.from_numpy(embed(kind.encoder(), [pair.sample for pair in pairs]))
    return Task(file.stem, x, [pair.caption for pair in pairs])


def curve(foundation: Foundation, task: Task, method: Method, lr: float, examples: int) -> list[float]:
    """Held-out loss after 0, EVERY, 2 EVERY, ... steps."""
    instruction = "Describe this."
    support = Support(task.x, foundation.embed_texts(task.captions), foundation.embed_texts([instruction]))
    pairs = [Pair(None, caption) for caption in task.captions]
    fitter = Fitter(foundation, Settings(method=method, lr=lr), pairs, [instruction] * len(pairs), task.x, support)
    shots, held_out = fitter.everything[:SHOTS], fitter.everything[SHOTS:]
    # A constant rate: the curve then holds for every number of steps at once.
    schedule = Schedule(STEPS[method], lr, warmup=5, final_lr=1.0, validate_every=EVERY)
    history = fitter.fit(fitter.begin(shots), shots, schedule, examples=examples, held_out=held_out)
    return [round(v["loss"], 3) for v in history.validations]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--foundation", required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder that benchmarks/own_data.py wrote")
    parser.add_argument("--only", choices=METHODS, nargs="+", default=METHODS)
    parser.add_argument("--out", type=Path, required=True, help="parts of earlier runs on the same tasks are kept")
    options = parser.parse_args()
    foundation = Foundation.load(options.foundation)
    tasks = [read(file) for file in sorted(options.data.glob("*-train.jsonl"))]
    about = {"tasks": [task.name for task in tasks], "every": EVERY, "shots": SHOTS, "held_out": HELD_OUT}
    found = read_json(options.out) if options.out.is_file() else {}
    if {name: found.get(name) for name in about} != about:  # curves of other tasks say nothing beside these
        found = {"chosen": {}, "curves": {}} | about
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for method in options.only:
        curves: dict[float, list[list[float]]] = {}
        for lr in RATES[method]:
            curves[lr] = [curve(foundation, task, method, lr, EXAMPLES.get(method, 0)) for task in tasks]
            print(method, lr, curves[lr], flush=True)
        # Early stopping finds the step, so a rate is worth its best step on each task.
        best = {lr: sum(map(min, rows)) / len(rows) for lr, rows in curves.items()}
        lr = min(best, key=best.__getitem__)
        found["chosen"][method] = {"lr": lr, "most_steps": STEPS[method], "mean_best_loss": round(best[lr], 4)}
        found["curves"][method] = {str(lr): rows for lr, rows in curves.items()}
        write_json(options.out, found)
    print(json.dumps(found["chosen"], indent=2))


if __name__ == "__main__":
    main()
