"""Ways to start from a support set: SEMI and what it is compared with, behind one interface.

Each method turns the support set into an alignment and a trainable projector of its own; what follows (training on the
pairs, evaluation, saving) is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from semi.adapters import ProjectorAdapter
from semi.alignment import PCA, Alignment, Standardise
from semi.errors import InputError
from semi.hypernetwork import HyperNetwork, RidgeHyperNetwork
from semi.hypernetwork.ridge import as_adapter, first_weight
from semi.projector import Projector
from semi.retrieval import Retrieval
from semi.ridge import Ridge

Method = Literal["semi", "ridge", "scratch", "finetune", "lora", "bias"]
METHODS: tuple[Method, ...] = get_args(Method)
READERS: tuple[Method, ...] = ("semi", "ridge")
"""Methods that read what samples mean off the pairs; the others are baselines."""
EXAMPLES = (0, 8)
"""How many pairs may be shown beside a sample, see `semi.examples`."""
LORA_RANK = 8
FEW_STEPS = 16
"""Of a method with a probe, on few pairs."""
BIAS_SCALE = 0.1
"""How much of the shared first layer "bias" keeps: the mean caption speaks, the sample whispers."""


@dataclass(frozen=True)
class Defaults:
    """The most steps a method takes and its learning rate.

    Baselines have the rates that were best on nobody's target (benchmarks/results/defaults.json, tasks and curves). No
    rate suits "scratch" on all data: on other vectors 0.2 was far better than its 0.005
    (benchmarks/results/scratch-rates.json), on molecules and movements no better. Compare with it at several. For
    SEMI, on vectors that no training had met (benchmarks/own_data.py), 32 to 40 steps at 2e-4 were best on 32 pairs,
    better than 24 at 4e-4 or 8e-4 and than twice as many of half the pairs; on 8 pairs 16 to 24 were.

    Attributes:
        probe: steps on three quarters of the pairs that tell whether the others gain from learning at all; if so,
            `steps` are taken. A handful of held-out pairs can tell that, and not how many steps are best: on data that
            the foundation has met the first ones already do harm, on all others the loss fell to about the last. None:
            pairs held out choose any number up to `most_steps`.
    """

    most_steps: int
    lr: float
    probe: int | None = None

    def steps(self, pairs: int) -> int:
        """The steps to take, or to choose from, with so many pairs."""
        return self.most_steps if self.probe is None else min(self.most_steps, max(FEW_STEPS, pairs))


DEFAULTS: dict[Method, Defaults] = {
    "semi": Defaults(most_steps=32, lr=2e-4, probe=12),
    "ridge": Defaults(most_steps=32, lr=2e-4, probe=12),
    "scratch": Defaults(most_steps=70, lr=5e-3),
    "finetune": Defaults(most_steps=40, lr=4e-4),
    "lora": Defaults(most_steps=40, lr=1e-2),
    "bias": Defaults(most_steps=40, lr=4e-4),
}


@dataclass(frozen=True)
class Support:
    """The support set: embeddings (k, d_enc), caption embeddings (k, d_text), instruction embedding (1, d_text)."""

    embeddings: Tensor
    texts: Tensor
    instruction: Tensor

    def subset(self, index: Tensor) -> Support:
        """The pairs at `index`."""
        return Support(self.embeddings[index], self.texts[index], self.instruction)


def _same(x: Tensor) -> Tensor:
    return x


@dataclass
class Start:
    """What training on the pairs starts from.

    Attributes:
        support: what it starts from.
        alignment: stored with the integration.
        module: `module.soft(inputs)` gives soft tokens; its parameters with gradient are trained.
        inputs: aligned embeddings to what the module reads of a new sample.
        unseen: aligned embeddings of the support set (k, ..., d), in its order, to what the module would read of each
            if its pair were not in the support set. This is what it is trained on: predictions of captions by a fit
            that has seen them are better than those it will meet.
        merged: the plain projector that alignment apart computes what `inputs` and the module do.
        adapter: what a hypernetwork wrote, for methods that have one.
    """

    support: Support
    alignment: Alignment
    module: Projector | LoraProjector
    merged: Callable[[], Projector]
    inputs: Callable[[Tensor], Tensor] = _same
    unseen: Callable[[Tensor], Tensor] = _same
    adapter: ProjectorAdapter | None = None

    @cached_property
    def retrieval(self) -> Retrieval:
        """Finds the pairs to show beside a sample."""
        return Retrieval.fit(self.alignment(self.support.embeddings), self.support.texts)

    @torch.no_grad()
    def soft(self, embeddings: Tensor) -> Tensor:
        """Soft tokens (n, t, d_lm) of new samples' embeddings."""
        return self.module.soft(self.inputs(self.alignment(embeddings)))


class LoraProjector(nn.Module):
    """A frozen projector with one trainable low-rank update a layer (B starts at zero, so does the update)."""

    def __init__(self, projector: Projector, rank: int) -> None:
        super().__init__()
        self.projector = projector.requires_grad_(False)
        shapes = [tuple(p.shape) for n, p in projector.named_parameters() if n.endswith("weight")]  # (out, in)
        self.A = nn.ParameterList([torch.randn(d_in, rank) / d_in**0.5 for _, d_in in shapes])
        self.B = nn.ParameterList([torch.zeros(rank, d_out) for d_out, _ in shapes])

    def adapter(self) -> ProjectorAdapter:
        """The update as an adapter with no bias."""
        A, B = list(self.A), list(self.B)
        return ProjectorAdapter(A, B, [b.new_zeros(b.shape[1]) for b in B], [True] * len(A))

    def soft(self, x: Tensor) -> Tensor:
        """(n, d) or (n, t, d) -> soft tokens, as `Projector.soft`."""
        return self.projector.soft(x, self.adapter())


def start(
    method: Method,
    support: Support,
    projector: Projector,
    hypernetwork: HyperNetwork,
    *,
    seed: int,
    subsets: int = 1,
) -> Start:
    """The start of a method on a support set.

    Args:
        seed: of fresh weights.
        subsets: parts of the support set that the hypernetwork reads one by one, their adapters averaged (SEMI section
            3.3); more if it cannot read as many pairs at once.

    Raises:
        InputError: unknown method, or a support set too small for it.
    """
    if method not in METHODS:
        raise InputError("unknown method", got=method, expected=", ".join(METHODS))
    if method == "semi":
        return _semi(support, projector, hypernetwork, subsets)
    if method == "ridge":
        return _semi(support, projector, RidgeHyperNetwork(projector).to(support.texts.device), subsets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _baseline(method, support, projector)


@torch.no_grad()
def _semi(support: Support, projector: Projector, hypernetwork: HyperNetwork, subsets: int) -> Start:
    alignment = hypernetwork.align(support.embeddings, support.texts)
    z, k = alignment(support.embeddings), len(support.texts)
    subsets = max(subsets, -(-k // (hypernetwork.most_pairs or k)))
    if k // subsets < 2:
        raise InputError(
            "the subsets are too small", got=f"{subsets} of {k} pairs", expected="at least 2 pairs in each"
        )
    parts = [torch.arange(i, k, subsets) for i in range(subsets)]
    read = [(z[part], support.texts[part], support.instruction) for part in parts]
    ridges = [ridge for ridge in (hypernetwork.predictor(*part) for part in read) if ridge is not None]
    if not ridges:
        adapter = _mean([hypernetwork(*part) for part in read], hypernetwork)
        merged = projector.merge(adapter)
        return Start(support, alignment, merged, lambda: merged, adapter=adapter)
    own, d_out = _copy(projector), projector.sizes["soft_tokens"] * projector.d_lm

    def written() -> ProjectorAdapter:  # the predictions through the projector as it is by then
        return _mean([as_adapter(ridge, first_weight(own), d_out) for ridge in ridges], hypernetwork)

    fits = list(zip(ridges, parts, strict=True))
    inputs, unseen = partial(_predicted, fits), partial(_left_out, fits)
    return Start(support, alignment, own, lambda: own.merge(written()), inputs, unseen, written())


def _mean(adapters: Sequence[ProjectorAdapter], hypernetwork: HyperNetwork) -> ProjectorAdapter:
    return adapters[0] if len(adapters) == 1 else ProjectorAdapter.mean(adapters, of=hypernetwork.mean_of)


def _predicted(fits: Sequence[tuple[Ridge, Tensor]], z: Tensor) -> Tensor:
    """Caption embeddings (..., d_text) that all fits predict on average."""
    return torch.stack([ridge.predict(z) for ridge, _ in fits]).mean(0).to(z.dtype)


def _left_out(fits: Sequence[tuple[Ridge, Tensor]], z: Tensor) -> Tensor:
    """The same for the support set (k, ..., d), each pair left out of the fit that has seen it."""
    total = torch.zeros(())
    for ridge, part in fits:
        predicted = ridge.predict(z)
        predicted[part] = ridge.predict_unseen(z[part])
        total = total + predicted
    return (total / len(fits)).to(z.dtype)


def _copy(projector: Projector) -> Projector:
    own = Projector(**projector.sizes).to(next(projector.parameters()).device)
    own.load_state_dict(projector.state_dict())
    return own


def _baseline(method: Method, support: Support, projector: Projector) -> Start:
    device = support.embeddings.device  # fresh weights are drawn on the CPU: one seed, one start, on any device
    if method == "scratch":
        alignment: Alignment = Standardise.fit(support.embeddings)
        fresh = Projector(**projector.sizes | {"d_in": alignment.d_out}).to(device)
        return Start(support, alignment, fresh, lambda: fresh)
    alignment = _to_text_scale(support, projector.sizes["d_in"])
    own = _copy(projector)
    if method == "lora":
        lora = LoraProjector(own, LORA_RANK).to(device)
        return Start(support, alignment, lora, lambda: own.merge(lora.adapter()))
    if method == "bias":
        weight, bias = own.get_parameter("layers.0.weight"), own.get_parameter("layers.0.bias")
        with torch.no_grad():
            bias.add_(weight @ support.texts.mean(0))
            weight.mul_(BIAS_SCALE)
    return Start(support, alignment, own, lambda: own)


def _to_text_scale(support: Support, d_proj: int) -> Alignment:
    """Principal axes of the support, padded to d_proj, as long on average as the text embeddings."""
    fit = PCA.fit(support.embeddings, d_proj)
    length = fit(support.embeddings.double()).square().sum(1).mean().sqrt().clamp_min(1e-12)
    target = support.texts.double().square().sum(1).mean().sqrt()
    return PCA(fit.mean, fit.axes * (target / length))
