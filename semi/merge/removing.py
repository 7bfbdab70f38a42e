"""`semi merge remove`: a merge without one of its models; of one that was added later, nothing at all remains."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from semi.artifacts import read_json, read_manifest, require_free, write_json
from semi.errors import InputError
from semi.merge.artifact import KIND, MERGE, Artifact
from semi.merge.editing import edited, take_over


def remove_model(folder: str | Path, model: str, out: str | Path | None = None, *, force: bool = False) -> bool:
    """Remove a model from a merge: its masks, scales, residual, exact and kept tensors, and its other files.

    Without a model that was added, the merge is what it was before, byte for byte. One of the models that were merged
    together leaves its trace in the shared vector, which stays as it is, as do all other models.

    Args:
        folder: the merge.
        model: one of its models.
        out: where the merge goes that lacks the model; None: in the place of the one that has it.
        force: replace what is in `out`.

    Returns:
        Whether the shared vector was made of that model, too.

    Raises:
        ArtifactError: the merge is missing or damaged.
        InputError: there is no such model, or no other one.
        OutputError: `out` is taken or cannot be written to.
    """
    folder = Path(folder)
    if out is not None and Path(out).resolve() != folder.resolve():
        require_free(out, force=force)
    read_manifest(folder, KIND)  # with hashes: a damaged file must not get a new one
    with Artifact.open(folder) as artifact:
        own = set(artifact.own_files(model))
        if len(artifact.models) == 1:
            raise InputError(f"{model} is all that {folder} holds", do="remove the folder")
        stays = [name for name in artifact.manifest["files"] if name not in own]
        merged = artifact.models[model].added is None
        settings = {"merge": artifact.manifest["files"], "removed": model}
        with edited(folder, out, settings, force=force) as new:
            take_over((name for name in stays if name != MERGE), folder, new.path)
            write_json(new.path / MERGE, _described(folder, model, merged=merged))
            new.finish(stays, _info(artifact, model))
    return merged


def _described(folder: Path, model: str, *, merged: bool) -> dict[str, Any]:
    """merge.json."""
    content: dict[str, Any] = read_json(folder / MERGE)
    content["models"] = [entry for entry in content["models"] if entry["name"] != model]
    del content["kept"][model]
    if merged:
        content["removed"] = [*content.get("removed", []), model]
    if model in content.get("search", {}).get("found", {}):
        del content["search"]["found"][model], content["search"]["curves"][model]
        if not content["search"]["found"]:
            del content["search"]
    for entry in content["entries"].values():
        for codecs in ("masks", "residuals"):
            entry.get(codecs, {}).pop(model, None)
        if not entry.get("residuals", True):
            del entry["residuals"]
    return content


def _info(artifact: Artifact, model: str) -> dict[str, Any]:
    """Of the manifest."""
    info: dict[str, Any] = deepcopy(artifact.manifest["info"])
    configuration = info["configuration"]
    configuration["models"] = [entry for entry in configuration["models"] if entry["name"] != model]
    for figures in (info["certificate"], info.get("lossless")):
        if figures and model in figures["models"]:
            del figures["models"][model], figures["mask_overlap"][model]
            for overlaps in figures["mask_overlap"].values():
                del overlaps[model]
    return info
