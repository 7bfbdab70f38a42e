"""`semi merge diff`: in what two merges differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from semi.merge.artifact import MERGE, Artifact
from semi.merge.verify import leaves

Advance = Callable[[int, int, str], None]
Pair = tuple[Any, Any]
"""What the one has, and the other."""


@dataclass(frozen=True)
class ModelDifference:
    """One model in both merges.

    Attributes:
        density, residual: as the certificates have them.
        agreement: of the entries that either mask has, the share that both have, with the same sign (Jaccard index);
            None where there are no masks.
    """

    density: Pair
    residual: Pair
    agreement: float | None


@dataclass(frozen=True)
class Difference:
    """In what two merges differ. Where they came from, by path, counts for nothing; what was read, by sha256, does.

    Attributes:
        settings: those that differ, by their names in merge.json and in the configuration.
        models: in one of them only.
        entries: tensors of the base that are in one of them only, or are of another kind, shape, data type or codec.
        files: data files that differ, or are in one of them only.
        of_models: figures of the models that are in both.
        distance: ||v - v'|| / ||v|| over all tensors that are merged in both; None where v is zero.
        nbytes: on the disk.
    """

    settings: Mapping[str, Pair]
    models: tuple[tuple[str, ...], tuple[str, ...]]
    entries: tuple[str, ...]
    files: tuple[str, ...]
    of_models: Mapping[str, ModelDifference]
    distance: float | None
    nbytes: Pair

    @property
    def equal(self) -> bool:
        """They hold the same, byte for byte, and say the same of it."""
        return not (self.settings or any(self.models) or self.entries or self.files)


def compare(one: Artifact, other: Artifact, *, advance: Advance = lambda done, total, what: None) -> Difference:
    """Compare two merges, block by block.

    Args:
        one: a merge.
        other: another one.
        advance: told how many tensors are done, how many there are, and what is being done.

    Raises:
        ArtifactError: a file has become shorter.
    """
    both = [name for name in one.models if name in other.models]
    agreement, distance = _agreement(one, other, both, advance)
    figures = [artifact.manifest["info"]["certificate"]["models"] for artifact in (one, other)]
    of_models = {
        name: ModelDifference(
            (figures[0][name]["density"], figures[1][name]["density"]),
            (figures[0][name]["residual"], figures[1][name]["residual"]),
            agreement.get(name),
        )
        for name in both
    }
    files = [{name: f["sha256"] for name, f in a.manifest["files"].items() if name != MERGE} for a in (one, other)]
    settings = [dict(leaves(_settings(artifact))) for artifact in (one, other)]
    return Difference(
        {name: (settings[0].get(name), settings[1].get(name)) for name in _differing(*settings)},
        (tuple(one.models.keys() - other.models), tuple(other.models.keys() - one.models)),
        tuple(_differing(_entries(one), _entries(other))),
        tuple(_differing(*files)),
        of_models,
        distance,
        tuple(sum(f["bytes"] for f in artifact.manifest["files"].values()) for artifact in (one, other)),
    )


def _settings(artifact: Artifact) -> dict[str, Any]:
    """What a merge was made with, but for paths."""
    configuration = dict(artifact.manifest["info"]["configuration"])
    del configuration["base_model"], configuration["models"]
    models = {
        name: {"lambda": m.lambda_, "adapter": m.adapter, "files": m.files, "names": m.names, "kept": m.kept}
        | ({"added": vars(m.added)} if m.added else {})
        for name, m in artifact.models.items()
    }
    own = {name: getattr(artifact, name) for name in ("method", "rule", "scale", "removed")}
    return own | configuration | {"base": artifact.base.files, "models": models}


def _entries(artifact: Artifact) -> dict[str, Any]:
    """What is said of each tensor, but for its masks: they are files, and belong to models."""
    return {key: (e.kind, e.shape, e.dtype, e.codec) for key, e in artifact.entries.items()}


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    return (name for name in sorted({*one, *other}) if (name in one) != (name in other) or one[name] != other[name])


def _agreement(
    one: Artifact, other: Artifact, models: list[str], advance: Advance
) -> tuple[dict[str, float | None], float | None]:
    """Of the masks, by model, and the distance of the shared vectors."""
    merged = [entry for entry in one.of("merged", "rows") if _same_tensor(other, entry.key, entry.shape)]
    masked = one.rule != "none" and other.rule != "none"
    counts = torch.zeros(2, len(models), dtype=torch.int64)  # entries that both masks have, and that either has
    apart = length = 0.0
    for done, entry in enumerate(merged):
        advance(done, len(merged), "Comparing")
        pairs = zip(one.code(entry.key, models), other.code(entry.key, models), strict=True)
        for (_, first), (_, second) in pairs:
            apart += float((first.shared - second.shared).double().square().sum())
            length += float(first.shared.double().square().sum())
            if masked and first.masks is not None and second.masks is not None:
                given, taken = first.masks.flatten(1), second.masks.flatten(1)
                counts[0] += ((given == taken) & (given != 0)).sum(1)
                counts[1] += ((given != 0) | (taken != 0)).sum(1)
    shares = {
        name: both / either if either else None for name, both, either in zip(models, *counts.tolist(), strict=True)
    }
    return shares if masked else {}, (apart / length) ** 0.5 if length else None


def _same_tensor(artifact: Artifact, key: str, shape: tuple[int, ...]) -> bool:
    entry = artifact.entries.get(key)
    return entry is not None and entry.codec is not None and entry.shape == shape
