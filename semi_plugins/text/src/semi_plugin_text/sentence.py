"""The encoder "sentence": any text encoder of the Hugging Face hub, or of a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from semi.artifacts import load_tensors, rebuilding
from semi.assets import as_safetensors
from semi.errors import ArtifactError, InputError
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils.hub import cached_file

from semi_plugin_text.pooling import encode_by_length

DEFAULT = "sentence-transformers/all-mpnet-base-v2"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # older models have the second only
POOLING = "1_Pooling/config.json"  # where sentence-transformers says how tokens become a sentence
LONGEST = 512
UNUSED = "pooler."
"""A head above the tokens, which pooling passes by."""


class SentenceEncoder:
    """AutoModel of transformers, mean over tokens (or the first one, where the model says so), length 1.

    No code of the model's repository is run, and no tensor is unpickled freely. A prefix that a model wants ("query: ")
    is for the samples to bring.
    """

    def __init__(self, source: str = DEFAULT, *, modality: str = "text", name: str = "sentence") -> None:
        """Load a model.

        Args:
            source: id on the hub, "id@revision", or a folder with configuration, tokenizer and weights.
            modality: what the id begins with.
            name: what users call the encoder.

        Raises:
            InputError: there is no such model, the hub cannot be reached, or the model is of another kind.
            ArtifactError: its files lack weights or are damaged.
        """
        model, _, revision = source.partition("@")
        try:
            config = AutoConfig.from_pretrained(model, revision=revision or "main")
            self._tokenizer = AutoTokenizer.from_pretrained(model, revision=revision or "main")
            found = (_file(model, file, revision) for file in WEIGHTS)
            weights = next((file for file in found if file is not None), None)
            pooling = _file(model, POOLING, revision)
        except (OSError, ValueError, KeyError) as error:  # no file, no network, a wrong id, code of its own
            raise InputError(
                f"the model {model!r} cannot be loaded",
                got=(str(error) or type(error).__name__).splitlines()[0][:200],
                expected="a text encoder on the hub, or a folder that `save_pretrained` wrote",
                do=f'name a folder: --encoder "{name}:FOLDER"',
            ) from error
        if config.is_encoder_decoder:
            raise InputError(f"the model {model} is no encoder", got=f"{config.model_type}, which also decodes")
        if weights is None:
            raise ArtifactError(f"the model {model} has no weights", expected=" or ".join(WEIGHTS))
        self._first = _first_token(pooling)
        self._model = _filled(config, weights)
        self.width = int(config.hidden_size)
        self.id = f"{modality}/{config.model_type}-{_digest(self._model, self._first)}@1"
        positions = int(getattr(config, "max_position_embeddings", LONGEST + 2)) - 2  # RoBERTa counts from 2
        self._longest = min(self._tokenizer.model_max_length, positions, LONGEST)
        self._tokens("")  # sets the tokenizer's truncation once, which no thread may do while another one encodes

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, width), float32, of n strings; longer ones than the model can read are cut."""
        return encode_by_length([self._tokens(text) for text in samples], self.width, self._embed)

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, truncation=True, max_length=self._longest)["input_ids"]
        return ids

    @torch.inference_mode()
    def _embed(self, ids: torch.Tensor) -> np.ndarray:
        hidden = self._model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state  # (b, t, d)
        pooled = hidden[:, 0] if self._first else hidden.mean(1)
        unit: torch.Tensor = torch.nn.functional.normalize(pooled, dim=-1)
        return unit.numpy()


def _file(name: str, file: str, revision: str) -> Path | None:
    found = cached_file(name, file, revision=revision or "main", _raise_exceptions_for_missing_entries=False)
    return None if found is None else Path(str(found))


def _first_token(pooling: Path | None) -> bool:
    """Whether the model's own pooling takes the first token; other than that and the mean is refused."""
    if pooling is None:
        return False
    with rebuilding(pooling, "pooling"):
        described: Mapping[str, Any] = json.loads(pooling.read_text("utf-8"))
    modes = {mode for mode, used in described.items() if mode.startswith("pooling_mode_") and used is True}
    if modes not in ({"pooling_mode_mean_tokens"}, {"pooling_mode_cls_token"}):
        expected = "pooling_mode_mean_tokens or pooling_mode_cls_token"
        raise InputError(
            f"{pooling} pools in another way", got=", ".join(sorted(modes)) or "nothing", expected=expected
        )
    return modes == {"pooling_mode_cls_token"}


def _filled(config: Any, weights: Path) -> torch.nn.Module:
    """The model with the weights of a file; `from_pretrained` would draw a progress bar on stderr."""
    auto: Any = AutoModel  # transformers leaves from_config untyped
    with torch.random.fork_rng(devices=[]):  # the weights that it is born with are drawn
        model = auto.from_config(config).float()
    path = weights if weights.suffix == ".safetensors" else as_safetensors(weights)
    prefix = f"{model.base_model_prefix}."  # of a model with a head, e.g. for masked words
    tensors = {_modern(name.removeprefix(prefix)): tensor for name, tensor in load_tensors(path).items()}
    wanted = {name for name in model.state_dict() if not name.startswith(UNUSED)}
    if missing := sorted(wanted - set(tensors)):
        raise ArtifactError(
            f"{weights} lacks weights", got=f"no {', '.join(missing[:3])}", expected=f"{len(wanted)} tensors"
        )
    with rebuilding(weights, config.model_type):
        model.load_state_dict({name: tensors[name] for name in wanted}, strict=False)
    filled: torch.nn.Module = model.train(False).requires_grad_(False)
    return filled


def _modern(name: str) -> str:
    """BERT's first checkpoints call scale and shift of a LayerNorm gamma and beta."""
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _digest(model: torch.nn.Module, first: bool) -> str:
    """Of weights and pooling: another model under the same name is another encoder."""
    digest = hashlib.sha256(f"first token: {first}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith(UNUSED):
            digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
