"""How far a restored language model's predictions are from those of the model that was merged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from semi.errors import ArtifactError
from semi.merge.artifact import Artifact
from semi.merge.inventory import Inventory
from semi.merge.origin import load_base
from semi.merge.restore import restore


@dataclass(frozen=True)
class Divergence:
    """Of a restored model from its original, over all tokens of some texts.

    Attributes:
        nats: mean KL divergence of the next-token distributions, original || restored.
        agreement: share of tokens after which both find the same one likeliest.
        tokens: how many.
    """

    nats: float
    agreement: float
    tokens: int


def compare(original: Sequence[Tensor], restored: Sequence[Tensor]) -> Divergence:
    """From the logits of the same texts, each (tokens, vocabulary)."""
    one, other = torch.cat(list(original)).double(), torch.cat(list(restored)).double()
    nats = kl_div(log_softmax(other, -1), log_softmax(one, -1), reduction="batchmean", log_target=True).item()
    agreement = (one.argmax(-1) == other.argmax(-1)).double().mean().item()
    return Divergence(max(0.0, nats), agreement, len(one))  # rounding can leave it a little below zero


@torch.no_grad()
def divergences(
    artifact: Artifact, inventory: Inventory, folder: Path, prompts: Sequence[str]
) -> dict[str, Divergence]:
    """Compare the language model of each modality with its original, on text; encoders have no part in it.

    Args:
        artifact: the merge.
        inventory: of the base and the models that were merged.
        folder: the base's, with its tokenizer.
        prompts: texts.

    Returns:
        By the models' names.

    Raises:
        ArtifactError: the base is no causal language model, or has no tokenizer.
    """
    model = load_base(folder, torch.float32).eval()
    texts = [torch.tensor([ids]) for ids in _tokens(folder, prompts)]
    found = {}
    for index, name in enumerate(artifact.models):
        for entry in artifact.of("exact"):
            exact = artifact.exact(name)
            _put(model, entry.key, [(exact if entry.key in exact.keys else inventory.base).read(entry.key)])
        logits = []
        for original in (True, False):
            for entry in artifact.of("merged", "rows"):
                _put(model, entry.key, _rows(artifact, inventory, index, entry.key, original=original))
            logits.append([model(ids).logits[0] for ids in texts])
        found[name] = compare(*logits)
    return found


def _rows(artifact: Artifact, inventory: Inventory, index: int, key: str, *, original: bool) -> Iterable[Tensor]:
    """A merged tensor of the original, or as it is restored, piece by piece; further rows are left out."""
    name = list(artifact.models)[index]
    if not original:
        return (rows.float() for _, rows in restore(artifact, inventory.base, name, key))
    base = inventory.base
    return (base.read(key, b.start, b.stop) + inventory.deltas(b)[index] for b in artifact.blocks(key))


def _put(model: Any, key: str, pieces: Iterable[Tensor]) -> None:
    try:
        parameter = model.get_parameter(key).data
    except AttributeError as error:
        raise ArtifactError(
            f"{key} is no parameter of the base's model",
            expected="each tensor of the base under its name in transformers",
            do="compare exported models instead (semi merge export)",
        ) from error
    torch.cat(list(pieces), out=parameter.view(parameter.shape[0], -1))


def _tokens(folder: Path, prompts: Sequence[str]) -> list[list[int]]:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        return [tokenizer.encode(prompt) for prompt in prompts]
    except Exception as error:  # transformers raises whatever a damaged file leads it into
        raise ArtifactError(
            f"the tokenizer of {folder} cannot be loaded",
            got=(str(error) or type(error).__name__).splitlines()[0],
            do="name a base with its tokenizer, or leave the prompts out",
        ) from error
