"""Chooses learning rates of the adaptation methods, on data that are nobody's target and in no training.

    python benchmarks/own_data.py --out runs/own
    python benchmarks/defaults.py --foundation smollm2-135m --data runs/own --out benchmarks/results/defaults.json

The three data sets of benchmarks/own_data.py; 32 shots, loss on 32 others after every eight steps, until three of these
in a row brought nothing new. The rate with the lowest mean of best losses becomes the default in semi/methods.py; how
many steps are taken is found on the pairs themselves. The baselines get at least as many rates to choose from as SEMI.
`--only METHOD` does a part; a curve that is in the file already is kept.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from semi.artifacts import read_json, write_json
from semi.encoding import embed
from semi.fitting import Fitter
from semi.methods import METHODS, Method, Support
from semi.pairs import Pair
from semi.pairs_io import draw_shots, read_pairs
from semi.plugins import load_modality
from semi.settings import Settings
from semi.study.measure import foundation_in_memory, foundation_sha256
from semi.study.pool import in_processes
from semi.training.loop import Schedule

RATES: dict[Method, tuple[float, ...]] = {
    "semi": (1e-4, 2e-4, 4e-4),
    "ridge": (1e-4, 2e-4, 4e-4),
    "scratch": (2e-3, 5e-3, 1e-2, 2e-2, 4e-2, 8e-2, 2e-1, 5e-1),
    "finetune": (4e-4, 1e-3, 2e-3),
    "lora": (2e-3, 5e-3, 1e-2, 2e-2),
    "bias": (4e-4, 1e-3, 2e-3),
}
STEPS: dict[Method, int] = {"semi": 40, "ridge": 40, "scratch": 72, "finetune": 72, "lora": 72, "bias": 72}
EXAMPLES: dict[Method, int] = {"semi": 8, "ridge": 8}
"""Pairs shown beside a sample; the other methods show none."""
EVERY, PATIENCE = 8, 3
SHOTS, HELD_OUT = 32, 32


@dataclass(frozen=True)
class Curve:
    """One training of one method on one task: a file of pairs, the first SHOTS drawn of which support."""

    foundation: str
    method: Method
    lr: float
    file: Path

    @property
    def task(self) -> str:
        return self.file.stem


def measure(curve: Curve) -> tuple[Curve, list[float]]:
    """Held-out loss after 0, EVERY, 2 EVERY, ... steps."""
    foundation = foundation_in_memory(curve.foundation)
    vectors = load_modality("vectors")
    pairs = draw_shots(read_pairs(curve.file, modality=vectors).pairs, SHOTS + HELD_OUT, 0)
    x = torch.from_numpy(embed(vectors.encoder(), [pair.sample for pair in pairs]))
    captions, instruction = [pair.caption for pair in pairs], "Describe this."
    support = Support(x, foundation.embed_texts(captions), foundation.embed_texts([instruction]))
    asked = [Pair(None, caption) for caption in captions]
    settings = Settings(method=curve.method, lr=curve.lr)
    fitter = Fitter(foundation, settings, asked, [instruction] * len(pairs), x, support)
    shots, held_out = fitter.everything[:SHOTS], fitter.everything[SHOTS:]
    # A constant rate: the curve then holds for every number of steps at once.
    schedule = Schedule(STEPS[curve.method], curve.lr, warmup=5, final_lr=1.0, validate_every=EVERY, patience=PATIENCE)
    examples = EXAMPLES.get(curve.method, 0)
    history = fitter.fit(fitter.begin(shots), shots, schedule, examples=examples, held_out=held_out)
    return curve, [round(v["loss"], 3) for v in history.validations]


def chosen(curves: dict[str, dict[str, list[float]]], tasks: Sequence[str]) -> dict[str, float] | None:
    """The best rate of those that have a curve on every task; early stopping finds its best step on each."""
    best = {lr: sum(min(row[t]) for t in tasks) / len(tasks) for lr, row in curves.items() if set(tasks) <= set(row)}
    if not best:
        return None
    lr = min(best, key=best.__getitem__)
    return {"lr": float(lr), "mean_best_loss": round(best[lr], 4), "rates": len(best)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--foundation", required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder that benchmarks/own_data.py wrote")
    parser.add_argument("--only", choices=METHODS, nargs="+", default=METHODS)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True, help="curves of earlier runs on the same tasks are kept")
    options = parser.parse_args()
    files = sorted(options.data.glob("*-train.jsonl"))
    tasks = [file.stem for file in files]
    sha256 = foundation_sha256(options.foundation)
    about = {"tasks": tasks, "every": EVERY, "shots": SHOTS, "held_out": HELD_OUT, "foundation": sha256}
    found = read_json(options.out) if options.out.is_file() else {}
    if {name: found.get(name) for name in about} != about:  # curves of other tasks say nothing beside these
        found = {"chosen": {}, "curves": {}} | about
    options.out.parent.mkdir(parents=True, exist_ok=True)
    curves = [
        Curve(options.foundation, method, lr, file)
        for method in options.only
        for lr in RATES[method]
        for file in files
        if file.stem not in found["curves"].get(method, {}).get(str(lr), {})
    ]
    for curve, row in in_processes(measure, curves, processes=options.processes):
        print(curve.method, curve.lr, curve.task, row, flush=True)
        of_method = found["curves"].setdefault(curve.method, {})
        of_method.setdefault(str(curve.lr), {})[curve.task] = row
        if best := chosen(of_method, tasks):
            found["chosen"][curve.method] = best
        write_json(options.out, found)
    print(json.dumps(found["chosen"], indent=2))


if __name__ == "__main__":
    main()
