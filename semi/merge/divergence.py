"""How far a restored language model's predictions are from those of the model that was merged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from semi.errors import ArtifactError
from semi.merge.artifact import Artifact
from semi.merge.inventory import BLOCK, Inventory, blocks_of
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


def compare(original: Iterable[Tensor], restored: Iterable[Tensor]) -> Divergence:
    """From the logits of the same texts, each (tokens, vocabulary)."""
    nats, agreed, tokens = 0.0, 0, 0
    for one, other in zip(original, restored, strict=True):
        p, q = log_softmax(one.double(), -1), log_softmax(other.double(), -1)
        nats += kl_div(q, p, reduction="sum", log_target=True).item()
        agreed += int((one.argmax(-1) == other.argmax(-1)).sum())
        tokens += len(one)
    return Divergence(max(0.0, nats / tokens), agreed / tokens, tokens)  # rounding can leave it a little below zero


class Prompted:
    """The base's language model in float32, whose tensors are replaced, and texts for it. Encoders have no part in it.

    Args:
        folder: the base's, with its tokenizer.
        prompts: texts.

    Raises:
        ArtifactError: the base is no causal language model, or has no tokenizer.
    """

    def __init__(self, folder: Path, prompts: Sequence[str]) -> None:
        self._texts = [torch.tensor([ids]) for ids in _tokens(folder, prompts)]
        self._model = load_base(folder, torch.float32).eval()

    def put(self, key: str, pieces: Iterable[Tensor]) -> None:
        """Replace a tensor by pieces (rows, columns) of it.

        Raises:
            ArtifactError: the model has no such parameter.
        """
        try:
            parameter = self._model.get_parameter(key).data
        except AttributeError as error:
            raise ArtifactError(
                f"{key} is no parameter of the base's model",
                expected="each tensor of the base under its name in transformers",
                do="compare exported models instead (semi merge export)",
            ) from error
        at = 0
        for piece in pieces:
            parameter[at : at + len(piece)] = piece.view(-1, *parameter.shape[1:])
            at += len(piece)

    @torch.no_grad()
    def logits(self) -> Iterator[Tensor]:
        """Of each text, (tokens, vocabulary)."""
        for ids in self._texts:
            yield self._model(ids).logits[0]


def original(inventory: Inventory, name: str, key: str) -> Iterator[Tensor]:
    """A model's own tensor by the base's key: float32 (rows, columns), in pieces, without rows beyond the base's."""
    info = inventory.base.info(key)
    for block in blocks_of(key, (info.rows, info.columns), BLOCK):
        delta, base = inventory.delta(name, block)
        yield base.add_(delta)


def divergences(
    artifact: Artifact,
    inventory: Inventory,
    folder: Path,
    prompts: Sequence[str],
    advance: Callable[[int, int, str], None] = lambda done, total, what: None,
) -> dict[str, Divergence]:
    """Compare the language model of each modality with its original, on text; encoders have no part in it.

    Args:
        artifact: the merge.
        inventory: of the base and the models that were merged.
        folder: the base's, with its tokenizer.
        prompts: texts.
        advance: told how many of the models are done, how many there are, and what is being done.

    Returns:
        By the models' names.

    Raises:
        ArtifactError: the base is no causal language model, or has no tokenizer.
    """
    asked = Prompted(folder, prompts)
    merged = [entry.key for entry in artifact.of("merged", "rows")]
    found = {}
    for done, name in enumerate(artifact.models):
        advance(done, len(artifact.models), "Comparing predictions")
        for entry in artifact.of("exact"):
            exact = artifact.exact(name)
            asked.put(entry.key, [(exact if entry.key in exact.keys else inventory.base).read(entry.key)])
        for key in merged:
            asked.put(key, original(inventory, name, key))
        logits = list(asked.logits())
        for key in merged:
            asked.put(key, (rows.float() for _, rows in restore(artifact, inventory.base, name, key)))
        found[name] = compare(logits, asked.logits())
    return found


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
