"""A small multimodal language model: soft tokens of a connector among the embeddings of a language model's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.retention.tasks import Example, embeddings
from semi.artifacts import save_tensors, write_json
from semi.artifacts.lock import LOCK
from semi.artifacts.manifest import RUN
from semi.language_model import LanguageModel
from semi.merge.checkpoint import HEAD, Checkpoint
from semi.prefill import pad
from semi.projector import Projector
from semi.prompts import Turn, render
from semi.weights import Loaded, compute_dtype

CONNECTOR = "projector"
"""Begins the names of the connector's tensors: what a merge has to `keep`."""
HIDDEN, SOFT_TOKENS = 1024, 4
COMPUTE = compute_dtype("bf16", torch.device("cpu"))
"""bf16 where this CPU multiplies it fast: what training and measuring compute in."""
_LANGUAGE, _INDEX = "language.safetensors", "model.safetensors.index.json"


class Connector(nn.Module):
    """Embeddings, centred and brought to an rms of one as a whole, through a `semi.projector.Projector`."""

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int, d_lm: int, *, hidden: int = HIDDEN, soft_tokens: int = SOFT_TOKENS) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(1))
        self.mlp = Projector(width, hidden, d_lm, soft_tokens)

    def fit(self, x: Tensor) -> None:
        """Take mean and rms from embeddings (n, d)."""
        self.mean.copy_(x.mean(0))
        self.scale.copy_((x - self.mean).square().mean().sqrt())

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings (n, d) -> soft tokens (n, t, d_lm)."""
        return self.mlp.soft((x - self.mean) / self.scale)

    @classmethod
    def read(cls, checkpoint: Checkpoint) -> Connector | None:
        """The connector among a model's tensors; None if it has none."""
        keys = [key for key in checkpoint.keys if key.startswith(f"{CONNECTOR}.")]
        if not keys:
            return None
        shapes = {key.removeprefix(f"{CONNECTOR}."): checkpoint.info(key).shape for key in keys}
        (hidden, width), (out, _) = shapes["mlp.layers.0.weight"], shapes["mlp.layers.1.weight"]
        connector = cls(width, out // SOFT_TOKENS, hidden=hidden)
        state = {name: checkpoint.read(f"{CONNECTOR}.{name}").view(shape) for name, shape in shapes.items()}
        connector.load_state_dict(state)
        return connector.requires_grad_(False)


class Multimodal(nn.Module):
    """A language model, its tokenizer, and a connector unless its task is of text alone.

    Attributes:
        reader: the same language model, as semi reads and writes with it.
    """

    def __init__(self, language: Any, tokenizer: Any, connector: Connector | None) -> None:
        super().__init__()
        self.language, self.connector = language.requires_grad_(False).train(False), connector
        self.reader = reader_of(language, tokenizer)

    def turns(self, examples: Sequence[Example]) -> list[Turn]:
        """A turn for each example, with its sample's soft tokens."""
        return turns_of(examples, self.connector)

    def loss(self, examples: Sequence[Example]) -> Tensor:
        """Mean cross-entropy of the answers' tokens, in nats, for training: nothing is computed ahead of the step."""
        reader, rows, answers = self.reader, [], []
        for number, turn in enumerate(self.turns(examples)):
            asked = question(reader, turn)
            ids = reader.answer_tokens(turn.answer)
            rows.append(torch.cat([asked, reader.embed_tokens(ids[:-1])]))
            answers.append((number, len(asked) - 1, ids))
        nats, tokens = reader.told(*pad(rows, left=False), answers).summed()
        return nats.sum() / tokens.sum()

    def save(self, folder: Path) -> list[str]:
        """Write a folder that transformers and `semi merge` read; names of its files."""
        self.language.config.save_pretrained(folder)
        self.language.generation_config.save_pretrained(folder)
        self.reader.tokenizer.save_pretrained(folder)
        own = self.language.state_dict()
        if self.language.config.tie_word_embeddings:
            del own[HEAD]  # stored once, as the embeddings
        parts = {_LANGUAGE: own}
        if self.connector is not None:
            state = self.connector.state_dict()
            parts[f"{CONNECTOR}.safetensors"] = {f"{CONNECTOR}.{name}": tensor for name, tensor in state.items()}
        for name, tensors in parts.items():
            save_tensors(folder / name, tensors, {"format": "pt"})
        write_json(
            folder / _INDEX, {"metadata": {}, "weight_map": {key: name for name in parts for key in parts[name]}}
        )
        return sorted({path.name for path in folder.iterdir() if path.is_file()} - {RUN, LOCK})


def turns_of(examples: Sequence[Example], connector: Connector | None) -> list[Turn]:
    """A turn for each example, with its sample's soft tokens."""
    x = embeddings(examples)
    soft = [None] * len(examples) if x is None or connector is None else list(connector(x))
    return [Turn(tokens, example.instruction, example.answer) for tokens, example in zip(soft, examples, strict=True)]


def question(reader: LanguageModel, turn: Turn) -> Tensor:
    """Input embeddings (length, d_lm) up to where the answer begins."""
    prompt = render(reader.tokenizer, [{"role": "user", "content": turn.content}])
    return reader.splice(prompt, [] if turn.soft is None else [turn.soft])


def reader_of(language: Any, tokenizer: Any) -> LanguageModel:
    """A language model in memory as semi's; what it has read ahead is only right as long as its weights stay."""
    precision = str(language.dtype).removeprefix("torch.")
    return LanguageModel(Loaded(language, tokenizer, precision, sha256=""), id="retention")


def load_language(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """A folder's causal language model and tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"dtype": dtype, "attn_implementation": "eager", "use_safetensors": True}
    return AutoModelForCausalLM.from_pretrained(folder, **options), AutoTokenizer.from_pretrained(folder)
