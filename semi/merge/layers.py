"""Layers of a model that compute tokens of one modality, with dense weights or on a 4-bit base."""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

from semi.merge.steps import Weights
from semi.quantised import QuantisedLinear
from semi_kernels import fused_lora, masked_nf4_linear


class WeightCache:
    """Dense weights of modalities, up to a number of bytes.

    Modalities that are not in use make room for those that are, the one that was used least recently first. What does
    not fit even so is made again each time: keeping the rest is better than replacing it in turn.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.nbytes = limit, 0
        self._kept: dict[int, dict[str, Tensor]] = {}
        self._used: Sequence[int] = ()

    def use(self, modalities: Sequence[int]) -> None:
        """Say which modalities are in use from now on."""
        self._used = modalities
        for modality in modalities:  # a dict keeps the order of insertion: the least recent one is first
            self._kept[modality] = self._kept.pop(modality, {})

    def get(self, modality: int, key: str, make: Callable[[], Tensor]) -> Tensor:
        """A modality's weight, made where it is not kept."""
        kept = self._kept.setdefault(modality, {})
        if key not in kept:
            weight = make()
            for other in [m for m in self._kept if m not in (*self._used, modality)]:
                if self.nbytes + weight.nbytes > self.limit:
                    self.nbytes -= sum(tensor.nbytes for tensor in self._kept.pop(other).values())
            if self.nbytes + weight.nbytes > self.limit:
                return weight
            kept[key] = weight
            self.nbytes += weight.nbytes
        return kept[key]


class Layer(Protocol):
    """Computes tokens (..., d_in) of one modality: (..., d_out)."""

    def __call__(self, x: Tensor, modality: int, /) -> Tensor: ...


class DenseLayer:
    """Any layer that treats tokens one by one: linear, norm, embedding.

    Args:
        module: the base's layer.
        weights: its parameters that differ between modalities, by their name in the module.
        cache: keeps what is made.
        name: the layer's name in the model.
    """

    def __init__(self, module: nn.Module, weights: Mapping[str, Weights], cache: WeightCache, name: str) -> None:
        # A copy, because the module's own forward becomes the routed one. It shares the module's parameters.
        self._module = copy.copy(module)
        self._weights, self._cache, self._name = weights, cache, name

    def __call__(self, x: Tensor, modality: int, /) -> Tensor:
        own = {part: self._weight(part, modality) for part, w in self._weights.items() if w.changed(modality)}
        result: Tensor = functional_call(self._module, own, (x,))
        return result

    def _weight(self, part: str, modality: int) -> Tensor:
        weights, base = self._weights[part], self._module.get_parameter(part)
        if modality in weights.own and modality not in weights.steps:
            return weights.of(modality, base)  # in memory already
        return self._cache.get(modality, f"{self._name}.{part}", lambda: weights.of(modality, base))


class MaskedLayer:
    """A linear layer on a 4-bit base: deq(W0) + m s tau is made on the fly and never kept; residuals stay sparse.

    Args:
        module: the base's layer; tau was taken against theta_0, not against what its 4 bits decode to.
        weight: its weight under each modality.
        bias: its bias under each modality, if it has one and it differs.
    """

    def __init__(self, module: QuantisedLinear, weight: Weights, bias: Weights | None) -> None:
        self._module, self._weight, self._bias = module, weight, bias

    def __call__(self, x: Tensor, modality: int, /) -> Tensor:
        bias = self._module.bias
        if bias is not None and self._bias is not None:
            bias = self._bias.of(modality, bias)
        step = self._weight.steps.get(modality)
        if step is None:
            return fused_lora(x, self._module.weight, bias=bias)
        result = masked_nf4_linear(x, self._module.weight, step.tau, step.mask, bias=bias, scale=step.scale)
        return result if step.residual is None else result + _sparse_linear(x, step.residual)


def _sparse_linear(x: Tensor, weight: Tensor) -> Tensor:
    """x @ weight.T for a sparse float32 weight (d_out, d_in), in the data type of x."""
    flat = x.reshape(-1, x.shape[-1]).float()
    product: Tensor = torch.sparse.mm(weight, flat.T)
    return product.T.reshape(*x.shape[:-1], -1).to(x.dtype)


def make_layer(module: nn.Module, weights: Mapping[str, Weights], cache: WeightCache, name: str) -> Layer:
    """The layer of a module whose parameters `weights` differ between modalities."""
    if isinstance(module, QuantisedLinear):
        return MaskedLayer(module, weights.get("weight", Weights()), weights.get("bias"))
    return DenseLayer(module, weights, cache, name)


def merged_layers(model: nn.Module, known: Container[str]) -> Iterator[tuple[str, nn.Module, dict[str, str]]]:
    """A model's layers that a merge changes: name, module, and for its parameters their keys in the merge.

    A tied parameter is stored under one of its names, and found under that.
    """
    stored = {id(tensor): key for key, tensor in model.named_parameters(remove_duplicate=False) if key in known}
    for name, module in model.named_modules():
        parts = {part: stored.get(id(tensor)) for part, tensor in module.named_parameters(recurse=False)}
        if isinstance(module, QuantisedLinear):  # no parameters: 4 bits an entry are buffers
            parts = dict.fromkeys(("weight", "bias"))
        keys = {part: f"{name}.{part}" if f"{name}.{part}" in known else key for part, key in parts.items()}
        if found := {part: key for part, key in keys.items() if key is not None}:
            yield name, module, found
