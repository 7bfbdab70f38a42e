"""A task that comes later: added to a merge that stays as it is, against merging all models again."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.retention.bench import Bench
from benchmarks.retention.measuring import ALONE, BASE, certificate, merged
from benchmarks.retention.models import CONNECTOR, question, turns_of
from benchmarks.retention.results import Results
from benchmarks.retention.tasks import Example
from benchmarks.retention.variants import UNCHANGED, Variant, restored
from semi.language_model import LanguageModel
from semi.merge.adding import AddConfig, add_model
from semi.merge.artifact import Artifact

METHOD = Variant({"method": "optimal"})
RESIDUALS = (0.0, 0.01, 0.05, 0.2)
"""Shares of the entries that the added model's sparse residual may have."""
SHOWN = 16
"""Examples whose logits are compared bit for bit."""


def measure_forgetting(bench: Bench, results: Results, tasks: list[str], added: str, folder: Path) -> None:
    """Scores of all tasks: before, with the new task added under several residuals, and merged again with it.

    Args:
        tasks: the models of the first merge.
        added: the model that comes later.
        folder: where the merges lie until they are scored.
    """
    results.once({"variant": BASE, "task": added}, bench.score, bench.base, added)
    for task in (*tasks, added):
        results.once({"variant": ALONE, "task": task}, bench.score, bench.models[task], task)
    if results.find(done=True):
        return
    old = folder / "before.mmer"
    with merged(bench, tasks, METHOD, old) as (artifact, _):
        before = logits(bench, artifact, tasks)
        _score(bench, results, "merged before", artifact, tasks)
    for share in RESIDUALS:
        name, new = f"added, residual {share:g}", folder / f"added-{share:g}.mmer"
        if results.find(merge=name) is not None:
            continue
        config = {"name": added, "path": str(bench.folders[added]), "keep": [CONNECTOR], "residual": share}
        figures = add_model(old, AddConfig.model_validate(config), new, force=new.exists())
        with Artifact.open(old) as first, Artifact.open(new) as artifact:
            _score(bench, results, name, artifact, [added])
            found = compared(before, logits(bench, artifact, tasks)) | {"figures": figures, **sizes(old, new)}
            found["same weights"] = {task: same_weights(bench, first, artifact, task) for task in tasks}
        results.once({"merge": name}, dict, found)
        shutil.rmtree(new)
    again = folder / "again.mmer"
    with merged(bench, [*tasks, added], METHOD, again) as (artifact, _):
        _score(bench, results, "merged again", artifact, [*tasks, added])
        results.once({"merge": "merged again"}, dict, certificate(artifact) | sizes(old, again))
    results.once({"done": True}, dict)
    shutil.rmtree(old)
    shutil.rmtree(again)


def logits(bench: Bench, artifact: Artifact, tasks: Iterable[str]) -> dict[str, Tensor]:
    """Of each task's first test examples, after the last token of the question: (n, vocabulary)."""
    found = {}
    for task in tasks:
        examples = bench.data[task]["test"][:SHOWN]
        found[task] = _last_logits(bench.restore(artifact, task), bench, task, examples)
    return found


@torch.no_grad()
def _last_logits(reader: LanguageModel, bench: Bench, task: str, examples: Sequence[Example]) -> Tensor:
    rows = [question(reader, turn)[None] for turn in turns_of(examples, bench.connectors[task])]
    return torch.stack([reader.model(inputs_embeds=row).logits[0, -1] for row in rows])


def compared(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Any]:
    """Whether logits of the old tasks are the same bit for bit, and how far apart they are at most."""
    return {
        "identical": {task: torch.equal(one, after[task]) for task, one in before.items()},
        "largest difference": {task: float((one - after[task]).abs().max()) for task, one in before.items()},
    }


def same_weights(bench: Bench, before: Artifact, after: Artifact, task: str) -> bool:
    """Whether all merged tensors come back the same bit for bit, as they are stored: bf16 could hide a difference."""
    pairs = zip(*(restored(one, bench.base, task, UNCHANGED, None) for one in (before, after)), strict=True)
    return all(torch.equal(old, new) for (_, _, old), (_, _, new) in pairs)


def sizes(old: Path, new: Path) -> dict[str, int]:
    """Bytes on disk, before and after."""
    before, after = (sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) for folder in (old, new))
    return {"bytes before": before, "bytes added": after - before}


def _score(bench: Bench, results: Results, name: str, artifact: Artifact, tasks: Iterable[str]) -> None:
    for task in tasks:
        results.once({"variant": name, "task": task}, bench.score_restored, artifact, task)
