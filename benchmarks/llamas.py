"""Models to merge, of Llama's shapes, written piece by piece: whole models, fine-tunes of a base, LoRA adapters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor

from semi.artifacts import write_json
from semi.merge.checkpoint import Checkpoint
from semi.merge.header import FLOATS
from semi.merge.writer import Source, in_shards, write_tensors

Shape = tuple[int, ...]
Values = Callable[[str, Shape], Iterator[Tensor]]
"""Gives a tensor's entries in reading order, float32 (n,) at a time."""

_PIECE = 2**20
_LINEAR = (
    *("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"),
    *("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
)


@dataclass(frozen=True)
class Llama:
    """Sizes of a model; `kv` is the width of keys and values."""

    hidden: int
    inner: int
    layers: int
    heads: int
    kv: int
    vocabulary: int
    tied: bool

    def linear(self) -> dict[str, Shape]:
        """The matrices of the layers by key."""
        kinds = {"q": self.hidden, "k": self.kv, "v": self.kv, "gate": self.inner, "up": self.inner}
        rows = {name: kinds.get(name.split(".")[1].removesuffix("_proj"), self.hidden) for name in _LINEAR}
        columns = {name: self.inner if "down" in name else self.hidden for name in _LINEAR}
        return {
            f"model.layers.{i}.{name}.weight": (rows[name], columns[name]) for i in range(self.layers) for name in rows
        }

    def shapes(self) -> dict[str, Shape]:
        """Of all tensors by key."""
        norms = [f"layers.{i}.{name}_layernorm" for i in range(self.layers) for name in ("input", "post_attention")]
        ends = ["model.embed_tokens.weight", *([] if self.tied else ["lm_head.weight"])]
        return (
            self.linear()
            | {f"model.{name}.weight": (self.hidden,) for name in [*norms, "norm"]}
            | dict.fromkeys(ends, (self.vocabulary, self.hidden))
        )

    @property
    def entries(self) -> int:
        """Of all tensors."""
        return sum(math.prod(shape) for shape in self.shapes().values())

    def divided(self, scale: int) -> Llama:
        """As many layers, heads and tokens of a `scale`-th of the width."""
        return replace(self, hidden=self.hidden // scale, inner=self.inner // scale, kv=self.kv // scale)

    def config(self, dtype: str) -> dict[str, object]:
        """config.json."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_size": self.hidden,
            "intermediate_size": self.inner,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv * self.heads // self.hidden,
            "vocab_size": self.vocabulary,
            "tie_word_embeddings": self.tied,
            "torch_dtype": str(FLOATS[dtype]).removeprefix("torch."),
        }


SMOLLM2_135M = Llama(576, 1536, 30, 9, 192, 49152, True)
LLAMA_7B = Llama(4096, 11008, 32, 32, 4096, 32000, False)


def drawn(seed: int, deviation: float = 0.02) -> Values:
    """Gaussian entries; every tensor has a stream of its own."""

    def values(key: str, shape: Shape) -> Iterator[Tensor]:
        stream = _stream(seed, key)
        for count in _counts(math.prod(shape)):
            yield torch.randn(count, generator=stream).mul_(deviation)

    return values


def same(base: Checkpoint) -> Values:
    """The entries of a base."""

    def values(key: str, shape: Shape) -> Iterator[Tensor]:
        rows = max(1, _PIECE // math.prod(shape[1:]))
        for start in range(0, shape[0], rows):
            yield base.read(key, start, min(start + rows, shape[0])).view(-1)

    return values


def tuned(base: Checkpoint, seed: int, relative: float = 0.02) -> Values:
    """The entries of a base with Gaussian changes, whose rms is a share of that of the entries around them."""

    def values(key: str, shape: Shape) -> Iterator[Tensor]:
        stream = _stream(seed, key)
        for piece in same(base)(key, shape):
            change = torch.randn(len(piece), generator=stream)
            yield piece + change.mul_(relative * piece.square().mean().sqrt())

    return values


def write_model(folder: Path, llama: Llama, values: Values, *, dtype: str = "F32", shard: float = 2**31) -> Path:
    """A folder as transformers writes it: config.json, shards of at most `shard` bytes and their index."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = in_shards((_source(key, shape, values, dtype) for key, shape in llama.shapes().items()), shard)
    names = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    for name, sources in zip(names, shards, strict=True):
        write_tensors(folder / name, sources)
    index = {source.name: name for name, sources in zip(names, shards, strict=True) for source in sources}
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": index})
    write_json(folder / "config.json", llama.config(dtype))
    return folder


def write_adapter(folder: Path, llama: Llama, seed: int, *, rank: int = 16, dtype: str = "BF16") -> Path:
    """A LoRA adapter of all matrices of the layers, as PEFT writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    factors: dict[str, Shape] = {}
    for key, (rows, columns) in llama.linear().items():
        module = f"base_model.model.{key.removesuffix('.weight')}"
        factors |= {f"{module}.lora_A.weight": (rank, columns), f"{module}.lora_B.weight": (rows, rank)}
    sources = [_source(name, shape, drawn(seed, 0.01), dtype) for name, shape in factors.items()]
    write_tensors(folder / "adapter_model.safetensors", sources)
    settings = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "bias": "none"}
    write_json(folder / "adapter_config.json", settings | {"target_modules": "all-linear"})
    return folder


def _source(key: str, shape: Shape, values: Values, dtype: str) -> Source:
    def pieces() -> Iterator[bytes]:
        for piece in values(key, shape):
            yield piece.to(FLOATS[dtype]).view(torch.uint8).numpy().tobytes()

    return Source(key, dtype, shape, math.prod(shape) * FLOATS[dtype].itemsize, pieces)


def _stream(seed: int, key: str) -> torch.Generator:
    digest = blake2b(f"{seed} {key}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def _counts(entries: int) -> Iterator[int]:
    for start in range(0, entries, _PIECE):
        yield min(_PIECE, entries - start)
