"""The paper's hypernetwork: one self-attention layer over the support set, one generator per projector layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from semi.adapters import ProjectorAdapter
from semi.alignment import Alignment, Chain, FeatureSelection, Standardise
from semi.errors import InputError
from semi.hypernetwork.base import HyperNetwork

GeneratorInit = Literal["xavier", "near_zero"]
NEAR_ZERO = 0.01
"""Factor on B and bias. A stays as it is, as in LoRA: with both factors small, neither would get a gradient."""


class AttentionHyperNetwork(HyperNetwork):
    """Prefix tokens attend to [instruction, sample_1, text_1, sample_2, ...] and generate A, B and bias (SEMI 3.2).

    Args:
        d_in: input width of each projector layer; the first also bounds the embeddings' width.
        d_out: output width of each projector layer.
        d_hyper: width of the sequence and of the caption embeddings.
        rank: of the adapters.
        alpha: A, B and bias are scaled by alpha / rank.
        n_pairs: the largest support set; the context is 2 n_pairs + prefixes + 1 tokens.
        n_heads: attention heads; divides d_hyper.
        generator_init: "xavier" (the paper's) or "near_zero" (B and bias start small, so does the adapter).
        bottleneck: width between the two linear maps of a generator; None: one map, as in the paper. Generators are
            most of the weights: 72 million at rank 8 for the projector of smollm2-135m, 10 million with a width of 128.

    Raises:
        InputError: settings that contradict each other.
    """

    kind: ClassVar[str] = "attention"

    def __init__(
        self,
        d_in: Sequence[int],
        d_out: Sequence[int],
        *,
        d_hyper: int,
        rank: int,
        alpha: float,
        n_pairs: int,
        n_heads: int = 1,
        generator_init: GeneratorInit = "xavier",
        bottleneck: int | None = None,
    ) -> None:
        super().__init__()
        self.settings = {
            "d_in": list(d_in),
            "d_out": list(d_out),
            "d_hyper": d_hyper,
            "rank": rank,
            "alpha": alpha,
            "n_pairs": n_pairs,
            "n_heads": n_heads,
            "generator_init": generator_init,
            "bottleneck": bottleneck,
        }
        sizes = {"d_hyper": d_hyper, "rank": rank, "n_pairs": n_pairs, "n_heads": n_heads}
        _check(d_in, d_out, sizes if bottleneck is None else sizes | {"bottleneck": bottleneck}, generator_init)
        self.d_in, self.d_out, self.d_hyper = tuple(d_in), tuple(d_out), d_hyper
        self.rank, self.alpha, self.n_pairs, self.n_heads = rank, alpha, n_pairs, n_heads
        self.most_pairs = n_pairs
        # Of unit length, like the caption embeddings they stand among.
        self.prefixes = nn.Parameter(torch.randn(len(d_in), d_hyper) / math.sqrt(d_hyper))
        self.query = nn.Linear(d_hyper, d_hyper)
        self.key = nn.Linear(d_hyper, d_hyper)
        self.value = nn.Linear(d_hyper, d_hyper)
        self.generators = nn.ModuleList(
            _generator(d_hyper, i * rank, rank * o + o, generator_init, bottleneck)
            for i, o in zip(d_in, d_out, strict=True)
        )
        context = 2 * n_pairs + len(d_in) + 1
        self.register_buffer("positions", sinusoidal_positions(context, d_hyper), persistent=False)

    def align(self, samples: Tensor, texts: Tensor) -> Alignment:
        """Centred and of length one in the mean square, like the texts that the projector was trained on.

        Columns of embeddings too wide are chosen by Infinite Feature Selection; narrower ones are zero-padded here.
        """
        widest = min(self.d_in[0], self.d_hyper)
        if samples.shape[-1] <= widest:
            return Standardise.fit(samples, unit="sample")
        chosen = FeatureSelection.fit(samples, widest)
        return Chain([chosen, Standardise.fit(chosen(samples), unit="sample")])

    def forward(self, samples: Tensor, texts: Tensor, instruction: Tensor) -> ProjectorAdapter:
        """The adapter; its first A has as many rows as the embeddings have columns.

        Args:
            samples: aligned embeddings (n, d_enc), d_enc <= d_hyper, 1 <= n <= n_pairs.
            texts: caption embeddings (n, d_hyper).
            instruction: embedding of the instruction (1, d_hyper).

        Raises:
            InputError: a support set larger than the context, or shapes that do not fit.
        """
        self._check_support(samples, texts, instruction)
        n, d_enc = samples.shape
        padded = nn.functional.pad(samples, (0, self.d_hyper - d_enc))
        pairs = torch.stack([padded, texts], dim=1).reshape(2 * n, self.d_hyper)
        sequence = torch.cat([self.prefixes, instruction, pairs])  # (length, d_hyper)
        outputs = self._attend(sequence + self.get_buffer("positions")[: len(sequence)])  # (prefixes, d_hyper)
        adapter = ProjectorAdapter([], [], [], [])
        for layer, generator in enumerate(self.generators):
            d_in, d_out = self.d_in[layer], self.d_out[layer]
            flat = generator(outputs[layer]) * (self.alpha / self.rank)
            A, B, bias = flat.split([d_in * self.rank, self.rank * d_out, d_out])
            used = d_enc if layer == 0 else d_in
            adapter.A.append(A.reshape(d_in, self.rank)[:used])
            adapter.B.append(B.reshape(self.rank, d_out))
            adapter.bias.append(bias)
            adapter.base.append(True)
        return adapter

    def _attend(self, sequence: Tensor) -> Tensor:
        """Self-attention read at the prefixes, (length, d_hyper) -> (prefixes, d_hyper).

        The rest of the context would be padding that the mask hides from every prefix, so it is never built.
        """
        heads = (self.n_heads, self.d_hyper // self.n_heads)
        query = self.query(sequence[: len(self.d_in)]).unflatten(-1, heads).transpose(0, 1)  # (heads, prefixes, d)
        key = self.key(sequence).unflatten(-1, heads).transpose(0, 1)  # (heads, length, d)
        value = self.value(sequence).unflatten(-1, heads).transpose(0, 1)
        # By the whole width whatever the number of heads, as the authors do.
        weights = torch.softmax(query @ key.transpose(1, 2) / math.sqrt(self.d_hyper), dim=-1)
        attended: Tensor = weights @ value
        return attended.transpose(0, 1).flatten(1)

    def _check_support(self, samples: Tensor, texts: Tensor, instruction: Tensor) -> None:
        n = samples.shape[0] if samples.ndim == 2 else 0
        widest = min(self.d_in[0], self.d_hyper)
        if n == 0 or samples.shape[1] > widest:
            raise InputError(
                "the samples of the support set do not fit the hypernetwork",
                got=f"shape {tuple(samples.shape)}",
                expected=f"(n, d) with n >= 1 and d <= {widest}",
                do="align them first (HyperNetwork.align)",
            )
        if n > self.n_pairs:
            raise InputError(
                "the support set is larger than the hypernetwork's context",
                got=f"{n} pairs",
                expected=f"at most {self.n_pairs} pairs",
                do="split it into subsets and average their adapters",
            )
        for name, tensor, rows in (("caption embeddings", texts, n), ("instruction embedding", instruction, 1)):
            if tuple(tensor.shape) != (rows, self.d_hyper):
                raise InputError(
                    f"the {name} do not fit the hypernetwork",
                    got=f"shape {tuple(tensor.shape)}",
                    expected=f"({rows}, {self.d_hyper})",
                )


def sinusoidal_positions(length: int, width: int) -> Tensor:
    """sin and cos of position / 10000^(2i/width), interleaved, times 1/sqrt(width): (length, width)."""
    position = torch.arange(length, dtype=torch.float64)[:, None]
    frequency = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10000.0) / width))
    waves = torch.stack([torch.sin(position * frequency), torch.cos(position * frequency)], dim=-1)
    return (waves.flatten(1)[:, :width] / math.sqrt(width)).float()


def _generator(
    d_hyper: int, size_a: int, size_rest: int, init: GeneratorInit, bottleneck: int | None
) -> nn.Linear | nn.Sequential:
    generator = nn.Linear(bottleneck or d_hyper, size_a + size_rest)
    nn.init.xavier_uniform_(generator.weight)
    nn.init.zeros_(generator.bias)
    if init == "near_zero":
        with torch.no_grad():
            generator.weight[size_a:] *= NEAR_ZERO
    return generator if bottleneck is None else nn.Sequential(nn.Linear(d_hyper, bottleneck, bias=False), generator)


def _check(d_in: Sequence[int], d_out: Sequence[int], sizes: dict[str, int], init: str) -> None:
    wrong = [f"{name} = {value}" for name, value in sizes.items() if value < 1]
    if len(d_in) != len(d_out) or not d_in or min(*d_in, *d_out) < 1:
        wrong.append(f"d_in = {list(d_in)} with d_out = {list(d_out)}")
    if sizes["n_heads"] >= 1 and sizes["d_hyper"] % sizes["n_heads"]:
        wrong.append(f"d_hyper = {sizes['d_hyper']} is not a multiple of n_heads = {sizes['n_heads']}")
    if init not in get_args(GeneratorInit):
        wrong.append(f"generator_init = {init!r}")
    if wrong:
        raise InputError(
            "settings of the attention hypernetwork",
            got="; ".join(wrong),
            expected="sizes of at least 1, one (d_in, d_out) per projector layer, heads that divide d_hyper, "
            + " or ".join(get_args(GeneratorInit)),
        )
