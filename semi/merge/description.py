"""What `merge.json` says about a merge: its base, its models, and the tensors of the base with their codecs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from semi.merge.config import MergeConfig, ModelConfig
from semi.merge.inventory import Inventory, Kind

SUPPORT, VALUES, SIGN, ROWS, ABSMAX, KINDS = "#support", "#values", "#sign", "#rows", "#absmax", "#kinds"
"""Endings of the names of a tensor's parts."""

VectorCodec = Literal["dense", "sparse"]
MaskCodec = Literal["none", "bits", "ones", "rows"]
ResidualCodec = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Added:
    """How a model came to a merge that others had made.

    Attributes:
        residual: share of the entries that it gets a residual for.
        values: how the residual is stored.
        notes: what was worth telling.
    """

    residual: float
    values: ResidualCodec
    notes: tuple[str, ...]

    @classmethod
    def parse(cls, said: Mapping[str, Any]) -> Self:
        """From what `merge.json` has."""
        return cls(float(said["residual"]), said["values"], tuple(said["notes"]))


@dataclass(frozen=True)
class MergedModel:
    """One of the models.

    Attributes:
        name: the modality.
        path: where it was: a folder, or its id on the hub.
        adapter: "lora", or "none" for a full model.
        lambda_: of its mask.
        files: sha256 of what was read, by file name.
        names: its own names of the base's tensors, where they differ from the base's.
        kept: names of the tensors that are copied from it.
        added: None for those that the shared vector was made of.
    """

    name: str
    path: str
    adapter: Literal["none", "lora"]
    lambda_: float
    files: Mapping[str, str]
    names: Mapping[str, str]
    kept: tuple[str, ...]
    added: Added | None

    @classmethod
    def parse(cls, said: Mapping[str, Any], kept: Sequence[str]) -> Self:
        """From what `merge.json` has."""
        known = {name: said[name] for name in ("name", "path", "adapter", "files", "names")}
        added = Added.parse(said["added"]) if "added" in said else None
        return cls(**known, lambda_=float(said["lambda"]), kept=tuple(kept), added=added)


@dataclass(frozen=True)
class MergedTensor:
    """One of the base's tensors.

    Attributes:
        key: its name in the base.
        kind: as in `semi.merge.inventory.Entry`.
        shape: in the base.
        dtype: in the base, as safetensors writes it.
        codec: of the shared vector; None for an exact tensor, which has none.
        masks: codec of each model's mask, by its name.
        residuals: codec of the residual of each model that has one, by its name.
    """

    key: str
    kind: Kind
    shape: tuple[int, ...]
    dtype: str
    codec: VectorCodec | None
    masks: Mapping[str, MaskCodec]
    residuals: Mapping[str, ResidualCodec]

    @classmethod
    def parse(cls, key: str, said: Mapping[str, Any]) -> Self:
        """From what `merge.json` has."""
        shape = tuple(int(size) for size in said["shape"])
        codecs = (said.get("masks", {}), said.get("residuals", {}))
        return cls(key, said["kind"], shape, said["dtype"], said.get("codec"), *codecs)


@dataclass(frozen=True)
class MergedBase:
    """The base: its folder, asset or id on the hub, sha256 of its files, and whether its output matrix is tied."""

    id: str
    files: Mapping[str, str]
    tied: bool


def describe_model(
    model: ModelConfig, config: MergeConfig, inventory: Inventory, hashes: Mapping[str, str]
) -> dict[str, Any]:
    """A model's entry in `merge.json`.

    Args:
        model: one of the configuration's.
        config: of the merge.
        inventory: of the merge.
        hashes: sha256 of all that was read, as `Inputs.hashes` gives them.
    """
    own, entries = inventory.models[model.name], inventory.entries.values()
    stored = {entry.key: own.info(entry.names[model.name]).stored for entry in entries if model.name in entry.names}
    return {
        "name": model.name,
        "path": model.path,
        "adapter": model.adapter,
        "lambda": config.lambda_of(model),
        "files": hashes_of(f"models.{model.name}", hashes),
        "names": {key: name for key, name in stored.items() if name != key},
    }


def kept_names(model: str, inventory: Inventory) -> list[str]:
    """What a model calls the tensors that are copied from it."""
    return [inventory.models[model].info(key).stored for key in inventory.kept[model]]


def hashes_of(label: str, hashes: Mapping[str, str]) -> dict[str, str]:
    """The sha256 of one input's files, by their names."""
    return {name.removeprefix(f"{label}/"): sha256 for name, sha256 in hashes.items() if name.startswith(f"{label}/")}
