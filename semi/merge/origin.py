"""What a merge was made of: its configuration, and its base, found again and refused if it is another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from semi.artifacts import sha256_of
from semi.errors import ArtifactError, AssetError
from semi.merge.artifact import Artifact
from semi.merge.checkpoint import Checkpoint, first_ten
from semi.merge.config import MergeConfig
from semi.merge.inputs import find_folder
from semi.quiet import no_bars


def configuration(artifact: Artifact) -> MergeConfig:
    """What the merge was configured with; `io.max_memory` was no part of it."""
    return MergeConfig.model_validate(artifact.manifest["info"]["configuration"])


def base_folder(artifact: Artifact, folder: str | Path | None = None) -> Path:
    """The base's folder: `folder`, or where the merge found it.

    Raises:
        ArtifactError: there is no such folder.
    """
    try:
        return find_folder(str(folder if folder is not None else artifact.base.id))
    except (ArtifactError, AssetError) as error:
        raise ArtifactError(
            f"the base of {artifact.folder} is not there",
            got=f"{error.what}; looked for {error.expected}",
            expected=f"a folder with {', '.join(sorted(artifact.base.files))}",
            do="name the folder of the base (--base PATH)",
        ) from error


def open_base(artifact: Artifact, folder: str | Path | None = None, *, hashes: bool = True) -> Checkpoint:
    """The base's tensors; it is the base that was merged, by sha256 of its files.

    Args:
        artifact: the merge.
        folder: the base's; None: where the merge found it.
        hashes: False looks at names, shapes and data types only.

    Raises:
        ArtifactError: the base is missing, damaged, or another one; names what differs.
    """
    found = base_folder(artifact, folder)
    problems = differing_files(found, artifact.base.files) if hashes else []
    base = Checkpoint.open(found)
    problems += _differing_tensors(artifact, base)
    if problems:
        base.close()
        raise ArtifactError(
            f"{found} is not the base of {artifact.folder}",
            got=first_ten(problems),
            expected="the files that were merged",
            do="name the folder of the base that was merged (--base PATH), or merge again",
        )
    return base


def require_undamaged(artifact: Artifact, names: Iterable[str]) -> None:
    """Compare files of a merge with its manifest, by sha256; `Artifact.open` has compared no more than their sizes.

    Args:
        artifact: the merge.
        names: of the files that will be used.

    Raises:
        ArtifactError: names those that differ.
    """
    files = artifact.manifest["files"]
    if differing := differing_files(artifact.folder, {name: files[name]["sha256"] for name in names}):
        raise ArtifactError(
            f"{artifact.folder} is damaged",
            got=first_ten(differing),
            expected="the files that its manifest describes",
            do="copy or make the folder again",
        )


def differing_files(folder: Path, hashes: Mapping[str, str]) -> list[str]:
    """Which files of a folder are missing or have another sha256, in words."""
    return [
        f"{name} has another sha256" if (folder / name).is_file() else f"{name} is missing"
        for name, expected in sorted(hashes.items())
        if not (folder / name).is_file() or sha256_of(folder / name) != expected
    ]


def load_base(folder: Path, dtype: torch.dtype | None = None) -> Any:
    """The base as a transformers model, on the CPU.

    Args:
        folder: the base's.
        dtype: of its parameters; None: as they are stored.

    Raises:
        ArtifactError: it is no causal language model, or transformers cannot load it.
    """
    from transformers import AutoModelForCausalLM

    try:
        with no_bars():
            return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype or "auto", use_safetensors=True)
    except Exception as error:  # transformers raises whatever a damaged file leads it into
        raise ArtifactError(
            f"the base {folder} cannot be loaded",
            got=(str(error) or type(error).__name__).splitlines()[0],
            expected="a causal language model of transformers",
            do="name the base's folder, with its config.json",
        ) from error


def _differing_tensors(artifact: Artifact, base: Checkpoint) -> list[str]:
    known = set(base.keys)
    problems = [f"{key} is not in the merge" for key in base.keys if key not in artifact.entries]
    for key, entry in artifact.entries.items():
        if key not in known:
            problems.append(f"{key} is missing")
        elif ((info := base.info(key)).shape, info.dtype) != (entry.shape, entry.dtype):
            problems.append(f"{key} is {info.dtype} {info.shape}, not {entry.dtype} {entry.shape}")
    return problems
