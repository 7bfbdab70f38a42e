"""Training 1: the shared projector, on all high-resource modalities together.

A batch mixes rows of every source. A row of text goes in as its caption's embedding, half of them with noise. A row of
any other modality goes in as what ridge regression predicts for its caption from a small support set of the same
modality: that is what the projector will be given for an unseen modality, with the same errors in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from semi.alignment import Nystroem
from semi.artifacts import save_tensors
from semi.hypernetwork.ridge import KERNELS, ridge_dual
from semi.language_model import LanguageModel
from semi.projector import Projector
from semi.training.config import ProjectorConfig
from semi.training.loop import History, Schedule, generator, train
from semi.training.sources import Family, draw_episode, pick, shares

VALIDATION_ROWS = 64
VALIDATION_SHOTS = 32


def train_projector(
    config: ProjectorConfig,
    families: Sequence[Family],
    language_model: LanguageModel,
    d_text: int,
    folder: Path,
    *,
    advance: Callable[[int, str], None] = lambda step, note: None,
) -> tuple[Projector, History]:
    """Train, resuming what `folder` holds; projector.safetensors and metrics.jsonl are left there.

    Args:
        families: of `load_families`; the first text family feeds the warm start.
        d_text: width of caption embeddings.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        projector = Projector(d_text, config.projector.d_hidden, language_model.d_lm, config.projector.soft_tokens)
    if config.warm_start:
        schedule = Schedule(config.warm_start, lr=1e-3, warmup=20, seed=config.seed, save_every=config.warm_start)
        train(
            projector, _warm_start(projector, families, language_model), schedule, folder=_made(folder / "warm-start")
        )

    def batch_loss(g: torch.Generator) -> Tensor:
        x, captions, instructions = [], [], []
        for family, rows in zip(families, shares(families, config.batch), strict=True):
            parts = _rows(family, rows, config, g)
            x += [part[0] for part in parts]
            captions += [c for part in parts for c in part[1]]
            instructions += [i for part in parts for i in part[2]]
        nats, tokens = language_model.caption_loss(projector.soft(torch.cat(x)), instructions, captions)
        return nats.sum() / tokens.sum()

    history = train(
        projector,
        batch_loss,
        config.schedule.build(config.seed),
        validate=lambda: sum(validation_losses(projector, families, language_model).values()) / len(families),
        folder=folder,
        advance=advance,
    )
    save_tensors(folder / "projector.safetensors", projector.state_dict())
    return projector, history


@torch.no_grad()
def validation_losses(
    projector: Projector, families: Sequence[Family], language_model: LanguageModel
) -> dict[str, float]:
    """Caption loss per token of each family's validation rows; 32-shot predictions for all but text."""
    losses = {}
    for number, family in enumerate(families):
        g = generator(number, 7)
        nats, tokens = 0.0, 0
        for _ in range(VALIDATION_ROWS // 16):
            source = pick(family.validation, g)
            episode = draw_episode(source, 0 if source.is_text else VALIDATION_SHOTS, 16, g)
            x = source.texts[episode.queries] if source.is_text else predict(*episode.tensors, ("linear", 1.0))
            loss, count = language_model.caption_loss(projector.soft(x), episode.instructions, episode.captions)
            nats, tokens = nats + float(loss.sum()), tokens + int(count.sum())
        losses[f"{number}-{family.validation[0].name}"] = nats / tokens
    return losses


def predict(support: Tensor, texts: Tensor, queries: Tensor, kernel: tuple[str, float]) -> Tensor:
    """Kernel ridge predictions (n, d_text) of queries (n, d) from a support set (k, d) and its captions (k, d_text)."""
    alignment = Nystroem.fit(support, kernel=kernel[0], bandwidth=kernel[1])
    mean, centred, dual = ridge_dual(alignment(support), texts)
    weights = (alignment(queries).double() - mean) @ centred.T @ dual  # (n, k)
    return texts.mean(0) + weights.float() @ (texts - texts.mean(0))


def _rows(
    family: Family, rows: int, config: ProjectorConfig, g: torch.Generator
) -> list[tuple[Tensor, list[str], list[str]]]:
    if family.train[0].is_text:
        source = pick(family.train, g)
        episode = draw_episode(source, 0, rows, g)
        return [(_noisy(source.texts[episode.queries], config.noise, g), episode.captions, episode.instructions)]
    parts = []
    while rows > 0:
        low, high = config.shots
        shots = low + int(torch.randint(high - low + 1, (), generator=g))
        episode = draw_episode(pick(family.train, g), shots, min(rows, config.queries), g)
        kernel = KERNELS[int(torch.randint(len(KERNELS), (), generator=g))]
        parts.append((predict(*episode.tensors, kernel), episode.captions, episode.instructions))
        rows -= len(episode.queries)
    return parts


def _noisy(texts: Tensor, noise: float, g: torch.Generator) -> Tensor:
    """Half of the rows get isotropic noise of a norm drawn up to `noise`; text embeddings have norm 1."""
    n, d = texts.shape
    strength = noise * torch.rand(n, 1, generator=g) * (torch.rand(n, 1, generator=g) < 0.5)
    return texts + strength / math.sqrt(d) * torch.randn(n, d, generator=g)


def _warm_start(
    projector: Projector, families: Sequence[Family], language_model: LanguageModel
) -> Callable[[torch.Generator], Tensor]:
    """Squared error to the mean input embeddings of the caption's consecutive parts, one part a soft token."""
    text = [s for f in families for s in f.train if s.is_text] or [s for f in families for s in f.train]

    def batch_loss(g: torch.Generator) -> Tensor:
        source = pick(text, g)
        episode = draw_episode(source, 0, 128, g)
        soft = projector.soft(source.texts[episode.queries])  # (n, t, d_lm)
        with torch.no_grad():
            target = language_model.embed_parts(episode.captions, soft.shape[1]).to(soft)
        return (soft - target).square().sum(-1).mean() / target.square().sum(-1).mean()

    return batch_loss


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
