"""`semi merge add`: one more model for a finished merge, whose vector and masks stay as they are, byte for byte."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from semi.artifacts import read_json, read_manifest, require_free, write_json
from semi.artifacts.manifest import MANIFEST
from semi.errors import InputError
from semi.merge.artifact import KIND, MERGE, Artifact
from semi.merge.config import MergeConfig, ModelConfig, Size
from semi.merge.copying import copy_files, copy_tensors
from semi.merge.description import Added, ResidualCodec, describe_model, kept_names
from semi.merge.editing import bytes_to_take, edited, take_over
from semi.merge.inputs import Inputs, located, open_inputs
from semi.merge.inventory import Inventory, take_inventory
from semi.merge.newcomer import Newcomer, Written, memory_needed
from semi.merge.origin import base_folder, configuration, open_base
from semi.merge.plan import FLOAT, in_words, require_disk, require_memory, twice
from semi.merge.verify import high_residuals
from semi.yaml_config import Share

Advance = Callable[[int, int, str], None]


class AddConfig(ModelConfig):
    """`semi merge add`: an entry of `models`, and what the model gets beside its part of the shared vector."""

    residual: Share = 0.05
    """Share of the entries that get a residual: those with the largest one. 0: none."""
    values: ResidualCodec = "fp32"
    """How the residual is stored."""
    max_memory: Size = 512 << 20
    """Bytes of anonymous memory."""

    @property
    def model(self) -> ModelConfig:
        """The entry of `models` alone."""
        return ModelConfig.model_validate(self.model_dump(include=set(ModelConfig.model_fields), by_alias=True))


def add_model(
    folder: str | Path,
    config: AddConfig,
    out: str | Path | None = None,
    *,
    base: str | Path | None = None,
    force: bool = False,
    advance: Advance = lambda done, total, what: None,
) -> dict[str, Any]:
    """Add a model to a merge.

    Shared vector, masks, scales and copies of the other models are the same files as before, so each of them comes back
    as it did, bit for bit. The new model gets its mask on that vector by the method's rule, its scale where the merge
    has scales, and the largest entries of what is left, tau - s m v, as a sparse residual. Memory stays below
    `max_memory` (see `semi.merge.newcomer.memory_needed`), and the result does not depend on it.

    Args:
        folder: the merge.
        config: the model.
        out: where the merge goes that has the model, too; None: in the place of the one without.
        base: the base's folder; None: where the merge found it.
        force: replace what is in `out`.
        advance: told the bytes that are read, how many there are, and what is being done.

    Returns:
        "figures" of the model (those of the certificate), "bytes" that it takes, "notes", and "high", what
        `semi.merge.verify.high_residuals` has to say.

    Raises:
        ArtifactError: the merge, its base or the model is missing, damaged or does not fit.
        InputError: the merge has a model of that name, a setting does not fit, too little memory is allowed, or a
            delta is not finite.
        OutputError: `out` is taken, or the disk is too small.
    """
    folder = Path(folder)
    if out is not None and Path(out).resolve() != folder.resolve():
        require_free(out, force=force)
    read_manifest(folder, KIND)  # with hashes: a damaged file must not get a new one
    with Artifact.open(folder) as artifact:
        alone = _alone(artifact, config, base)
        open_base(artifact, alone.base_model).close()
        with open_inputs(alone) as inputs:
            inventory = take_inventory(inputs.base, inputs.models, alone)
            needed = memory_needed(artifact, inventory, ahead=False)
            require_memory(needed, config.max_memory, "max_memory")
            settings = inputs.describe(alone) | {
                "merge": artifact.manifest["files"],
                "added": config.model_dump(mode="json", exclude={"max_memory"}),
            }
            old = [name for name in artifact.manifest["files"] if name != MERGE]
            with edited(folder, out, settings, force=force) as new:
                needed = _disk_needed(artifact, inventory, inputs, alone, config.residual)
                require_disk(needed + bytes_to_take(old, folder, new.path), new.path)
                names = copy_files(inputs.copied, new.path)
                take_over(old, folder, new.path)
                label = f"models.{config.name}/"
                own = {name: path for name, path in inputs.files.items() if name.startswith(label)}
                only = replace(inputs, files=own)
                hashes = only.hashes(_stage(advance, "Hashing the model", only.nbytes))
                read = inventory.sizes(alone).read
                ahead = memory_needed(artifact, inventory, ahead=True) <= config.max_memory
                newcomer = Newcomer(artifact, inventory, alone, lambda what: _stage(advance, what, read), ahead=ahead)
                written = newcomer.write(new.path, newcomer.fit(config.residual), config.values)
                names += [*written.files, *copy_tensors(inventory, new.path, alone.io.shard)]
                notes = [*inventory.notes, *inputs.notes, *_notes(config, configuration(artifact))]
                added = Added(config.residual, config.values, tuple(notes))
                model = describe_model(alone.models[0], alone, inventory, hashes) | {"added": asdict(added)}
                write_json(new.path / MERGE, _described(folder, model, kept_names(config.name, inventory), written))
                inputs.require_unchanged()
                taken = sum((new.path / name).stat().st_size for name in names)  # before they are moved
                advance(0, 0, "Hashing the result")
                new.finish([*artifact.manifest["files"], *names], _info(artifact, alone.models[0], written))
    high = high_residuals({"models": {config.name: written.figures}}, alone)
    return {"figures": dict(written.figures), "bytes": taken, "notes": notes, "high": high}


def _alone(artifact: Artifact, config: AddConfig, base: str | Path | None) -> MergeConfig:
    """The merge's configuration for the new model alone."""
    merged, model = configuration(artifact), config.model
    if config.name in artifact.models:
        raise InputError(
            f"{artifact.folder} has a model {config.name} already",
            expected=f"another name than {', '.join(artifact.models)}",
            do=f"choose another `name`, or remove that model first (semi merge remove {artifact.folder} {config.name})",
        )
    if model.lambda_ is not None and merged.rule != "tall":
        raise InputError("`lambda` is of the rule tall", got=f"{merged.merge.method}, whose rule is {merged.rule}")
    if merged.mask.lambda_ == "auto" and model.lambda_ is None:
        model = model.model_copy(update={"lambda_": 1.0})
    return located(merged.model_copy(update={"models": [model], "base_model": str(base_folder(artifact, base))}))


def _notes(config: AddConfig, merged: MergeConfig) -> list[str]:
    """What differs from how the models of the merge got their masks."""
    if merged.mask.lambda_ == "auto" and config.lambda_ is None:
        return [f"{config.name}: lambda is 1; it is looked for where models are merged together"]
    if merged.budget is not None:
        return [f"{config.name}: its mask is by the rule tall; a budget is for models that are merged together"]
    return []


def _disk_needed(artifact: Artifact, inventory: Inventory, inputs: Inputs, alone: MergeConfig, share: float) -> int:
    """Bytes on the disk at most, at the worst moment: what is the model's own, and a part of it that is there twice."""
    sizes = inventory.sizes(alone)
    own = sizes.write - sizes.vector
    if share:  # of each block, the last byte of the support's bits is filled up
        blocks = sum(1 for _ in inventory.blocks())
        own += sizes.elements // 8 + blocks + FLOAT * math.ceil(share * sizes.elements)
    said = sum((artifact.folder / name).stat().st_size for name in (MERGE, MANIFEST))
    return own + twice(inventory, alone, own) + said + in_words(inventory) + inputs.copied_nbytes


def _described(folder: Path, model: Mapping[str, Any], kept: list[str], written: Written) -> dict[str, Any]:
    """merge.json."""
    content: dict[str, Any] = read_json(folder / MERGE)
    content["models"].append(model)
    content["kept"][model["name"]] = kept
    for key, codec in written.masks.items():
        content["entries"][key]["masks"][model["name"]] = codec
    for key, values in written.residuals.items():
        content["entries"][key].setdefault("residuals", {})[model["name"]] = values
    return content


def _info(artifact: Artifact, model: ModelConfig, written: Written) -> dict[str, Any]:
    """Of the manifest. Signs are compared among the models that were merged: the others' deltas may be gone."""
    info: dict[str, Any] = deepcopy(artifact.manifest["info"])
    info["configuration"]["models"].append(model.model_dump(mode="json", by_alias=True))
    certificate = info["certificate"]
    overlap = certificate["mask_overlap"]
    own = round(written.figures["density"] * certificate["entries"])
    overlap[model.name] = {}
    for name, both in zip(artifact.models, written.shared_support, strict=True):
        either = own + round(certificate["models"][name]["density"] * certificate["entries"]) - both
        overlap[name][model.name] = overlap[model.name][name] = both / either if either else None
    certificate["models"][model.name] = dict(written.figures)
    return info


def _stage(advance: Advance, what: str, total: int) -> Callable[[int], None]:
    done = 0

    def told(count: int) -> None:
        nonlocal done
        done += count
        advance(min(done, total), total, what)

    return told
