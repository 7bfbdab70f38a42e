"""Scores of every model of a seed, alone and merged by every method; goes on where it stopped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.retention.bench import Bench
from benchmarks.retention.results import Results
from benchmarks.retention.scoring import score
from benchmarks.retention.variants import CONTROLS, UNCHANGED, Change, Variant
from semi.artifacts.manifest import MANIFEST
from semi.merge.artifact import Artifact
from semi.merge.checkpoint import Checkpoint
from semi.merge.inputs import open_inputs
from semi.merge.inventory import Inventory, take_inventory
from semi.merge.run import run_merge

BASE, ALONE, BLIND = "base", "alone", "alone, other samples"
"""Variants that are no merges: the base with a model's connector, a model, a model that is shown others' samples."""


def measure_alone(bench: Bench, results: Results) -> None:
    """What the merges are compared with."""
    for task, model in bench.models.items():
        results.once({"deltas": task}, size_of_deltas, bench.base, model)
        results.once({"variant": BASE, "task": task}, bench.score, bench.base, task)
        results.once({"variant": ALONE, "task": task}, bench.score, model, task)
        if bench.connectors[task] is not None:
            results.once({"variant": BLIND, "task": task}, _blind, bench, task)


def measure_merge(bench: Bench, results: Results, name: str, variant: Variant, folder: Path) -> None:
    """Merge by one method, and score what each model gets back of it, also with what is chosen and with wrong masks.

    Args:
        folder: where the merge lies until it is scored.
    """
    if results.find(variant=name, done=True):
        shutil.rmtree(folder, ignore_errors=True)  # killed just before it was removed
        return
    with merged(bench, list(bench.models), variant, folder) as (artifact, inventory):
        results.once({"merge": name}, certificate, artifact)
        one = _One(bench, results, artifact, inventory)
        one.score(name, dict.fromkeys(bench.models, UNCHANGED))
        for control in variant.controls:
            one.score(f"{name}: {CONTROLS[control]}", dict.fromkeys(bench.models, Change(control=control)))
        if variant.alphas:
            one.score(f"{name}, alpha chosen", one.choose_together(name, [Change(alpha=x) for x in variant.alphas]))
        if variant.lambdas:
            one.score(f"{name}, lambda chosen", one.choose_each(name, [Change(lambda_=x) for x in variant.lambdas]))
    results.once({"variant": name, "done": True}, dict)
    shutil.rmtree(folder)


@contextmanager
def merged(bench: Bench, tasks: list[str], variant: Variant, folder: Path) -> Iterator[tuple[Artifact, Inventory]]:
    """A merge, made unless it is there, and the inventory of its models."""
    config = bench.config(tasks, variant, folder.with_suffix(".prompts"))
    if not (folder / MANIFEST).is_file():
        run_merge(config, folder)
    with Artifact.open(folder) as artifact, open_inputs(config) as inputs:
        yield artifact, take_inventory(inputs.base, inputs.models, config)


def certificate(artifact: Artifact) -> dict[str, Any]:
    """What is known of a merge without running it: residuals, densities, sign conflict, bytes."""
    summary = artifact.summary()
    return {**summary["certificate"], "bytes": summary["bytes"]}


class _One:
    """One merge, scored."""

    def __init__(self, bench: Bench, results: Results, artifact: Artifact, inventory: Inventory) -> None:
        self._bench, self._results, self._artifact, self._inventory = bench, results, artifact, inventory

    def score(self, name: str, changes: Mapping[str, Change]) -> None:
        """Every model on the split `test`."""
        for task, change in changes.items():
            about = {"variant": name, "task": task}
            self._results.once(about, self._bench.score_restored, self._artifact, task, change, self._inventory)

    def choose_each(self, name: str, changes: list[Change]) -> dict[str, Change]:
        """For each model the change of the lowest loss on the split `choose`, the last of equals."""
        losses = {task: [self._loss(name, task, change) for change in changes] for task in self._bench.models}
        return {task: changes[_lowest(own)] for task, own in losses.items()}

    def choose_together(self, name: str, changes: list[Change]) -> dict[str, Change]:
        """The change of the lowest mean loss of all models on the split `choose`, the same for all."""
        sums = [sum(self._loss(name, task, change) for task in self._bench.models) for change in changes]
        return dict.fromkeys(self._bench.models, changes[_lowest(sums)])

    def _loss(self, name: str, task: str, change: Change) -> float:
        about = {"choose": name, "task": task, "alpha": change.alpha, "lambda": change.lambda_}
        arguments = (self._artifact, task, change, self._inventory)
        return float(self._results.once(about, self._bench.loss_restored, *arguments)["loss"])


def _lowest(losses: list[float]) -> int:
    return min(range(len(losses)), key=lambda i: (losses[i], -i))


def _blind(bench: Bench, task: str) -> dict[str, Any]:
    """Scores where each sample is the next one's: what a model says without looking."""
    examples = bench.data[task]["test"]
    samples = [example.embedding for example in [*examples[1:], examples[0]]]
    others = [replace(example, embedding=other) for example, other in zip(examples, samples, strict=True)]
    return score(bench.load(bench.models[task]), bench.connectors[task], others)


def size_of_deltas(base: Checkpoint, model: Checkpoint) -> dict[str, float]:
    """Of the tensors that have been changed: norm of the delta, in parts of the base's, and share of entries left."""
    square = of_base = 0.0
    same = entries = 0
    for key in base.keys:
        before = base.read(key)
        delta = model.read(key) - before
        if bool((delta != 0).any()):
            square += float(delta.square().sum(dtype=torch.float64))
            of_base += float(before.square().sum(dtype=torch.float64))
            same, entries = same + int((delta == 0).sum()), entries + delta.numel()
    relative = (square / of_base) ** 0.5 if of_base else 0.0
    return {"norm": square**0.5, "relative": relative, "zero": same / max(1, entries)}
