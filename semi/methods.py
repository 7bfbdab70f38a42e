"""Ways to start from a support set: SEMI and what it is compared with, behind one interface.

Each method turns the support set into an alignment and a trainable projector of its own; what follows (training on the
pairs, evaluation, saving) is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from semi.adapters import ProjectorAdapter
from semi.alignment import PCA, Alignment, Standardise
from semi.errors import InputError
from semi.hypernetwork import HyperNetwork
from semi.projector import Projector

Method = Literal["semi", "scratch", "finetune", "lora"]
METHODS: tuple[Method, ...] = get_args(Method)
LORA_RANK = 8


@dataclass(frozen=True)
class Defaults:
    """The most steps a method takes and its learning rate.

    Baselines have the rates that benchmarks/defaults.py found best on nobody's target. For SEMI it found 1e-4 and 4e-4
    equal (2.28 and 2.32 nats a token); 3e-4 needs half the steps of 1e-4.
    """

    most_steps: int
    lr: float


DEFAULTS: dict[Method, Defaults] = {
    "semi": Defaults(most_steps=40, lr=3e-4),
    "scratch": Defaults(most_steps=70, lr=5e-3),
    "finetune": Defaults(most_steps=40, lr=4e-4),
    "lora": Defaults(most_steps=40, lr=1e-2),
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


@dataclass
class Start:
    """What training on the pairs starts from.

    Attributes:
        alignment: stored with the integration.
        module: `module.soft(z)` gives soft tokens; its parameters with gradient are trained.
        merged: the plain projector that the module amounts to.
        adapter: what a hypernetwork wrote, for methods that have one.
    """

    alignment: Alignment
    module: Projector | LoraProjector
    merged: Callable[[], Projector]
    adapter: ProjectorAdapter | None = None


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
    parts = [slice(i, None, subsets) for i in range(subsets)]
    adapters = [hypernetwork(z[part], support.texts[part], support.instruction) for part in parts]
    adapter = adapters[0] if subsets == 1 else ProjectorAdapter.mean(adapters, of=hypernetwork.mean_of)
    merged = projector.merge(adapter)
    return Start(alignment, merged, lambda: merged, adapter)


def _baseline(method: Method, support: Support, projector: Projector) -> Start:
    device = support.embeddings.device  # fresh weights are drawn on the CPU: one seed, one start, on any device
    if method == "scratch":
        alignment: Alignment = Standardise.fit(support.embeddings)
        fresh = Projector(**projector.sizes | {"d_in": alignment.d_out}).to(device)
        return Start(alignment, fresh, lambda: fresh)
    alignment = _to_text_scale(support, projector.sizes["d_in"])
    own = Projector(**projector.sizes).to(device)
    own.load_state_dict(projector.state_dict())
    if method == "finetune":
        return Start(alignment, own, lambda: own)
    lora = LoraProjector(own, LORA_RANK).to(device)
    return Start(alignment, lora, lambda: own.merge(lora.adapter()))


def _to_text_scale(support: Support, d_proj: int) -> Alignment:
    """Principal axes of the support, padded to d_proj, as long on average as the text embeddings."""
    fit = PCA.fit(support.embeddings, d_proj)
    length = fit(support.embeddings.double()).square().sum(1).mean().sqrt().clamp_min(1e-12)
    target = support.texts.double().square().sum(1).mean().sqrt()
    return PCA(fit.mean, fit.axes * (target / length))
