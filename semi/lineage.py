"""Whether a language model descends from another: its input embeddings are almost the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from semi.assets.catalog import CORE
from semi.errors import ArtifactError
from semi.language_model import LanguageModel
from semi.merge.artifact import Artifact
from semi.merge.checkpoint import Checkpoint
from semi.merge.inputs import find_folder
from semi.merge.language import MergeName
from semi.merge.origin import base_folder
from semi.weights import asset_folder, unusable

FARTHEST = 0.3
"""Of a language model's input embeddings from those that a foundation was trained among, relative to the norm of these.
Fine-tuning moves them by a few per cent, rounding to 4 bits by about ten; those of another model are farther than 1."""


def require_near(folder: Path, language_model: LanguageModel, trained_on: str) -> None:
    """Refuse a language model whose input embeddings are not near those that a foundation's soft tokens stand among.

    Args:
        folder: of the foundation.
        language_model: what it is to be used with.
        trained_on: what it was trained on, as it records it.

    Raises:
        ArtifactError: they are those of another model; or what it was trained on is not there, to be compared with.
    """
    own, known = language_model.input_embeddings().float().cpu(), read_input_embeddings(trained_on)
    shared = min(len(own), len(known))  # fine-tunes may have tokens of their own, below the others
    distance = float((own[:shared] - known[:shared]).norm() / known[:shared].norm())
    if not distance <= FARTHEST:
        raise ArtifactError(
            f"{folder} was not made for the language model {language_model.id}: its input embeddings are other ones",
            got=f"{distance:.2f} of their norm from those of {trained_on}",
            expected=f"at most {FARTHEST}, as fine-tunes have it",
            do="give a fine-tune of the language model that the foundation was trained on, or train a foundation on it",
        )


def read_input_embeddings(name: str) -> Tensor:
    """Input embeddings (V, d_lm) float32 of a language model on disk, of a merge those of its base.

    Nothing else of it is read.

    Raises:
        ArtifactError: it is not there, or has none in its files.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    folder, auto = _folder(name), cast(Any, AutoModelForCausalLM)  # whose methods have no types
    try:
        with torch.device("meta"):
            model = auto.from_config(AutoConfig.from_pretrained(folder))
    except Exception as error:  # as in `_load`
        raise unusable(folder, error) from error
    table = model.get_input_embeddings().weight
    names = [name for name, parameter in model.named_parameters(remove_duplicate=False) if parameter is table]
    with Checkpoint.open(folder) as held:
        # Some files name the tensors of the decoder without what comes before them in the model.
        key = next((key for key in held.keys if any(f".{name}".endswith(f".{key}") for name in names)), None)
        if key is None:
            raise ArtifactError(f"{folder} has no input embeddings", expected=" or ".join(names))
        return held.read(key)


def _folder(name: str) -> Path:
    """Where the files of a language model lie, or of a merge's base."""
    if name in CORE:
        return asset_folder(name)
    if named := MergeName.parse(name):
        with Artifact.open(named.folder) as artifact:
            return base_folder(artifact)
    return find_folder(name)
