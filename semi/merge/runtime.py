"""One language model that is each of its modalities' own model: weights switched for a batch, or for every token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor, nn

from semi.errors import ArtifactError, InputError
from semi.merge.agreement import CONFIG, require_same_settings
from semi.merge.artifact import FILES, Artifact
from semi.merge.checkpoint import first_ten
from semi.merge.layers import Layer, WeightCache, make_layer, merged_layers
from semi.merge.origin import base_folder, load_base, open_base, require_undamaged
from semi.merge.routing import TEXT, Route
from semi.merge.steps import TextPolicy, Weights, read_weights
from semi.quantised import replace_linears
from semi_kernels import NF4Weight

CACHE = 4 << 30
"""Bytes of dense weights that are kept."""


class DecoupledModel:
    """A transformers model of the base in which every layer computes each token under the token's own modality.

    Build it with `DecoupledModel.load`. Not for several threads at once: they would share what `use` says.

    Attributes:
        model: the base's model; called by itself it computes what `use` or `routing` says.
        modalities: their names; a token's id is its modality's place among them, or -1 for text.
    """

    def __init__(
        self, model: nn.Module, modalities: Sequence[str], weights: Mapping[str, Weights], *, cache: int = CACHE
    ) -> None:
        """Route the layers of a model.

        Args:
            model: the base's; its layers' `forward` are replaced, its parameters are not.
            modalities: their names.
            weights: tensors that differ between modalities, by the names of the model's parameters.
            cache: bytes of dense weights to keep at most.

        Raises:
            ArtifactError: the model has no such parameter.
        """
        layers = list(merged_layers(model, weights))
        if missing := weights.keys() - {key for _, _, keys in layers for key in keys.values()}:
            raise ArtifactError(
                "the merge has tensors that are no parameters of the base's model",
                got=first_ten(sorted(missing)),
                expected="each tensor of the base under its name in transformers",
                do="export each modality instead (semi merge export)",
            )
        self.model, self.modalities = model, tuple(modalities)
        self._weights = {f"{name}.{part}": weights[key] for name, _, keys in layers for part, key in keys.items()}
        self._cache = WeightCache(cache)
        self._set(Route(TEXT))
        for name, module, keys in layers:
            layer = make_layer(module, {part: weights[key] for part, key in keys.items()}, self._cache, name)
            module.forward = partial(self._routed, layer, name)
        model.requires_grad_(False)
        model.train(False)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        base: str | Path | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        precision: Literal["dense", "nf4"] = "dense",
        text_policy: TextPolicy = "base",
        cache: int = CACHE,
        hashes: bool = True,
    ) -> Self:
        """Load a merge and its base.

        Args:
            folder: what `semi merge run` wrote.
            base: the base's folder; None: where the merge found it.
            device: where to compute.
            dtype: what to compute in; None: what the base's config.json says, or as it is stored.
            precision: `nf4` holds the base's linear layers, but for the head, in 4 bits and adds each token's part of
                the shared vector in the same kernel.
            text_policy: what tokens of no modality get.
            cache: bytes of dense weights to keep at most.
            hashes: False leaves out the sha256 of the merge's files and the base's, about a second for each GB. Sizes,
                names, shapes and data types are compared in any case.

        Raises:
            InputError: an unknown policy or precision.
            ArtifactError: the merge or its base is missing, damaged, or another one; transformers cannot load the base;
                a model asks for another computation (`require_same_settings`).
        """
        for what, got, known in (
            ("text_policy", text_policy, get_args(TextPolicy)),
            ("precision", precision, ("dense", "nf4")),
        ):
            if got not in known:
                raise InputError(f"unknown {what}", got=got, expected=", ".join(known))
        with Artifact.open(folder) as artifact:
            root = base_folder(artifact, base)
            if hashes:
                require_undamaged(artifact, artifact.computed_files())
            with open_base(artifact, root, hashes=hashes) as checkpoint:
                weights = read_weights(artifact, checkpoint, torch.device(device), text_policy)
            modalities = list(artifact.models)
            require_same_settings(root / CONFIG, {name: artifact.folder / FILES / name / CONFIG for name in modalities})
        model = load_base(root, dtype).to(device)
        if precision == "nf4":
            replace_linears(model, _in_4_bits(model, weights))
        return cls(model, modalities, weights, cache=cache)

    def use(self, modality: str | None) -> Self:
        """Compute every token under a modality from now on, or as text (None), unless a call gives `modality_ids`.

        Raises:
            InputError: there is no such modality.
        """
        self._set(Route(self.id_of(modality)))
        return self

    def id_of(self, modality: str | None) -> int:
        """The id of a modality's tokens; -1 for None.

        Raises:
            InputError: there is no such modality.
        """
        if modality is None:
            return TEXT
        if modality not in self.modalities:
            raise InputError(
                "the merge has no modality of that name", got=modality, expected=", ".join(self.modalities)
            )
        return self.modalities.index(modality)

    def parameter(self, name: str) -> Tensor:
        """A parameter as `use` says; `model.get_parameter` gives the base's.

        Args:
            name: as in `model.named_parameters()`.
        """
        modality, base = self._route.modalities[0], self.model.get_parameter(name)
        weights = self._weights.get(name)
        return base if weights is None or not weights.changed(modality) else weights.of(modality, base)

    @contextmanager
    def routing(self, modality_ids: Tensor) -> Iterator[None]:
        """Within the block, calls of `model` compute each token under its own modality.

        Calls with fewer tokens are about the last of them: `model.generate` goes on under that of the prompt's end.

        Args:
            modality_ids: (B, T) integers, -1 for text.

        Raises:
            InputError: they are no such ids.
        """
        before = self._route
        self._set(Route(self._checked(modality_ids)))
        try:
            yield
        finally:
            self._set(before)

    def forward(
        self,
        input_ids: Tensor | None = None,
        modality_ids: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
        **more: Any,
    ) -> Any:
        """What the transformers model returns.

        Args:
            input_ids: (B, T).
            modality_ids: (B, T), of these tokens alone where a KV cache holds others; None: as `use` says.
            inputs_embeds: (B, T, d) in place of input_ids.
            more: attention_mask, past_key_values and all else that the model takes.

        Raises:
            InputError: neither or both inputs are given, or ids that do not fit them.
        """
        given = input_ids if inputs_embeds is None else inputs_embeds
        if given is None or (input_ids is not None and inputs_embeds is not None):
            raise InputError("a batch is input_ids or inputs_embeds", do="give one of them")
        inputs = {"input_ids": input_ids, "inputs_embeds": inputs_embeds} | more
        if modality_ids is None:
            return self.model(**inputs)
        if modality_ids.shape != given.shape[:2]:
            raise InputError(
                "modality_ids do not fit the batch", got=tuple(modality_ids.shape), expected=tuple(given.shape[:2])
            )
        with self.routing(modality_ids):
            return self.model(**inputs)

    __call__ = forward

    def _set(self, route: Route) -> None:
        self._route = route
        self._cache.use(route.modalities)

    def _routed(self, layer: Layer, name: str, x: Tensor) -> Tensor:
        return self._route.apply(x, layer, name)

    def _checked(self, ids: Tensor) -> Tensor:
        last = len(self.modalities) - 1
        whole = not (ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool)
        if ids.ndim != 2 or not whole or not ids.numel() or not TEXT <= int(ids.min()) <= int(ids.max()) <= last:
            raise InputError(
                "modality_ids are no ids of modalities",
                got=f"{ids.dtype} of shape {tuple(ids.shape)}"
                + (f" from {ids.min().item()} to {ids.max().item()}" if ids.numel() else ""),
                expected=f"integers (B, T) from {TEXT} (text) to {last} ({self.modalities[-1]})",
                do="`id_of` gives the id of a modality",
            )
        return ids


def _in_4_bits(model: Any, weights: Mapping[str, Weights]) -> dict[str, NF4Weight]:
    """The weights of all linear layers but the head, whose logits suffer most; those that are exact stay dense."""
    head = model.get_output_embeddings()
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    return {
        name: NF4Weight.from_float(layer.weight.detach())
        for name, layer in layers.items()
        if layer is not head and (key := f"{name}.weight") in weights and weights[key].steps and not weights[key].own
    }
