"""Linear layers of a language model on 4-bit weights, computed by our kernels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from semi.errors import ArtifactError
from semi_kernels import NF4Weight, Q4Weight, fused_lora


class QuantisedLinear(nn.Module):
    """x W^T + bias with a frozen 4-bit W: (..., in_features) -> (..., out_features), in the dtype of x.

    Gradients reach x. The parts of W are buffers: they move with the module, and keep their dtypes whatever it is cast
    to.
    """

    bias: Tensor | None

    def __init__(self, weight: NF4Weight | Q4Weight, bias: Tensor | None = None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        for i, part in enumerate(weight.tensors()):
            self.register_buffer(f"part{i}", part)
        self.register_buffer("bias", None if bias is None else bias.detach())
        self._weight = weight

    @property
    def weight(self) -> NF4Weight | Q4Weight:
        """W, (out_features, in_features)."""
        return self._weight

    def forward(self, x: Tensor) -> Tensor:
        return fused_lora(x, self._weight, bias=self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, {self._weight.layout}"

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(lambda t: t.to(fn(t.new_empty(0)).device), recurse)  # type: ignore[no-untyped-call]  # torch's
        parts = [self.get_buffer(f"part{i}") for i in range(len(self._weight.tensors()))]
        # Kept, because checking the parts again in every forward would cost as much as launching the kernel.
        self._weight = type(self._weight).from_tensors(parts, self._weight.shape, self._weight.dtype)
        return self


def replace_linears(model: nn.Module, weights: Mapping[str, NF4Weight | Q4Weight]) -> None:
    """Put a `QuantisedLinear` in the place of each named linear layer, with its bias.

    Raises:
        ArtifactError: a name is not that of a linear layer, or its weight has another shape. Nothing is replaced then.
    """
    layers: dict[str, Any] = dict(model.named_modules())
    for name, weight in weights.items():
        layer = layers.get(name)
        shape = (layer.out_features, layer.in_features) if isinstance(layer, nn.Linear) else None
        if shape != weight.shape:
            raise ArtifactError(f"the 4-bit weight {name} does not fit the model", got=weight.shape, expected=shape)
    for name, weight in weights.items():
        parent, _, own = name.rpartition(".")
        setattr(layers[parent], own, QuantisedLinear(weight, layers[name].bias))


def bitsandbytes_weights(model: nn.Module) -> dict[str, NF4Weight]:
    """The weights of bitsandbytes' 4-bit layers by name, not copied. The layers are on their device already."""
    from bitsandbytes.nn.modules import Linear4bit

    found: dict[str, Any] = {name: layer for name, layer in model.named_modules() if isinstance(layer, Linear4bit)}
    return {
        name: NF4Weight.from_bitsandbytes(layer.weight.data, layer.weight.quant_state) for name, layer in found.items()
    }


def gguf_weights(file: Path, model: Any) -> dict[str, Q4Weight]:
    """The weights that a GGUF file of a Llama holds in Q4_1, by the names of the model's linear layers, on the CPU.

    llama.cpp keeps the rows of queries and keys in the order of its own rotary embedding; they come back here in that
    of transformers.
    """
    from gguf import MODEL_ARCH, GGMLQuantizationType, GGUFReader, get_tensor_name_map

    held = {t.name: t for t in GGUFReader(file).tensors if t.tensor_type == GGMLQuantizationType.Q4_1}
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, model.config.num_hidden_layers)
    heads = {"q_proj": model.config.num_attention_heads, "k_proj": model.config.num_key_value_heads}
    weights = {}
    for name, layer in model.named_modules():
        tensor = held.get(f"{names.get_name(name)}.weight")
        if tensor is not None and isinstance(layer, nn.Linear):
            raw = torch.from_numpy(tensor.data.copy())  # the file itself is mapped read-only
            weight = Q4Weight.from_gguf(raw, (layer.out_features, layer.in_features), layer.weight.dtype)
            kind = name.rpartition(".")[2]
            weights[name] = _rows_unpermuted(weight, heads[kind]) if kind in heads else weight
    return weights


def _rows_unpermuted(weight: Q4Weight, heads: int) -> Q4Weight:
    """Pairs (2j, 2j + 1) of a head's rows, as llama.cpp turns them, back to (j, j + head_dim / 2)."""
    rows = torch.arange(weight.shape[0]).view(heads, -1, 2).transpose(1, 2).reshape(-1)
    parts = [part.view(weight.shape[0], -1)[rows].view(-1) for part in weight.tensors()]
    return Q4Weight.from_tensors(parts, weight.shape, weight.dtype)
