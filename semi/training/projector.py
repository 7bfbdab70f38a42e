"""Training 1: the shared projector, on all high-resource modalities together.

A batch mixes rows of every source. A row of text goes in as its caption's embedding, half of them with noise. A row of
any other modality goes in as what ridge regression predicts for its caption from a small support set of the same
modality: that is what the projector will be given for an unseen modality, with the same errors in it. With `examples`
up to so many pairs of the support set, those that `semi.retrieval` finds for the row, stand before it as turns of the
conversation, and every turn's caption counts; they go in as what the fit without them predicts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from semi.alignment import Nystroem
from semi.artifacts import load_module, save_tensors
from semi.hypernetwork.ridge import KERNELS
from semi.language_model import LanguageModel
from semi.projector import Projector
from semi.prompts import Turn
from semi.retrieval import Retrieval
from semi.ridge import Ridge
from semi.training.config import ProjectorConfig
from semi.training.loop import History, Schedule, generator, train
from semi.training.sources import Episode, Family, draw_episode, pick, shares

WEIGHTS = "projector.safetensors"
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
    if config.start:
        load_module(projector, config.start / WEIGHTS)
    if config.warm_start:
        schedule = Schedule(config.warm_start, lr=1e-3, warmup=20, seed=config.seed, save_every=config.warm_start)
        train(
            projector, _warm_start(projector, families, language_model), schedule, folder=_made(folder / "warm-start")
        )

    def batch_loss(g: torch.Generator) -> Tensor:
        drawn: list[Shown] = []
        for family, rows in zip(families, shares(families, config.batch), strict=True):
            drawn += _rows(family, rows, config, g)
        nats, tokens = shown_loss(projector, language_model, drawn)
        return nats.sum() / tokens.sum()

    history = train(
        projector,
        batch_loss,
        config.schedule.build(config.seed),
        validate=lambda: fmean(validation_losses(projector, families, language_model, config.examples).values()),
        folder=folder,
        advance=advance,
    )
    save_tensors(folder / WEIGHTS, projector.state_dict())
    return projector, history


@dataclass(frozen=True)
class Shown:
    """A conversation about samples of one source, the last one being what it is for.

    Attributes:
        predicted: what goes into the projector, (turns, d_text).
    """

    predicted: Tensor
    captions: list[str]
    instruction: str


def shown_loss(projector: Projector, language_model: LanguageModel, drawn: Sequence[Shown]) -> tuple[Tensor, Tensor]:
    """Summed nats and tokens of the captions of all turns."""
    soft = projector.soft(torch.cat([shown.predicted for shown in drawn]).to(language_model.device))
    turns = [
        [Turn(*turn) for turn in zip(part, [shown.instruction] * len(part), shown.captions, strict=True)]
        for shown, part in zip(drawn, torch.split(soft, [len(shown.captions) for shown in drawn]), strict=True)
    ]
    return language_model.answer_loss(turns, every_turn=True)


@torch.no_grad()
def validation_losses(
    projector: Projector, families: Sequence[Family], language_model: LanguageModel, examples: int = 0
) -> dict[str, float]:
    """Caption loss per token of each family's validation rows; 32-shot predictions for all but text.

    With examples, a second entry for every family but text: the loss over all turns of conversations with so many
    examples, as many turns in all.
    """
    losses = {}
    for number, family in enumerate(families):
        is_text = family.validation[0].is_text
        for shown in [0] if is_text or not examples else [0, examples]:
            g = generator(number, 7)
            nats, tokens = 0.0, 0
            for _ in range(VALIDATION_ROWS // 16):
                source = pick(family.validation, g)
                episode = draw_episode(source, 0 if is_text else VALIDATION_SHOTS, -(-16 // (1 + shown)), g)
                drawn = (
                    _alone(source.texts[episode.queries], episode)
                    if is_text
                    else conversations(episode, KERNELS[0], shown)
                )
                loss, count = shown_loss(projector, language_model, drawn)
                nats, tokens = nats + float(loss.sum()), tokens + int(count.sum())
            name = f"{number}-{family.validation[0].name}"
            losses[f"{name}, {shown} examples" if shown else name] = nats / tokens
    return losses


def conversations(episode: Episode, kernel: tuple[str, float], examples: int) -> list[Shown]:
    """One conversation for each query of an episode, up to `examples` pairs of its support set before it.

    Args:
        kernel: of the Nystroem alignment, and its bandwidth in median distances.
    """
    support, texts, queries = episode.tensors
    alignment = Nystroem.fit(support, kernel=kernel[0], bandwidth=kernel[1])
    z_support, z = alignment(support), alignment(queries)
    ridge = Ridge.fit(z_support, texts)
    predicted = ridge.predict(z).float()
    if not examples:
        return _alone(predicted, episode)
    source, unseen = episode.source, ridge.predict_unseen(z_support).float()
    pairs = episode.support.tolist()
    result = []
    for row, caption, nearest in zip(
        predicted, episode.captions, Retrieval.of(ridge).nearest(z, examples).flip(1), strict=True
    ):
        captions = [source.captions[pairs[i]] for i in nearest.tolist()]
        result.append(Shown(torch.cat([unseen[nearest], row[None]]), [*captions, caption], source.instruction))
    return result


def _alone(predicted: Tensor, episode: Episode) -> list[Shown]:
    """Queries without examples."""
    rows = zip(torch.split(predicted, 1), episode.captions, strict=True)
    return [Shown(row, [caption], episode.source.instruction) for row, caption in rows]


def _rows(family: Family, rows: int, config: ProjectorConfig, g: torch.Generator) -> list[Shown]:
    """Conversations of `rows` turns in all."""
    if family.train[0].is_text:
        source = pick(family.train, g)
        episode = draw_episode(source, 0, rows, g)
        return _alone(_noisy(source.texts[episode.queries], config.noise, g), episode)
    drawn: list[Shown] = []
    while rows > 0:
        low, high = config.shots
        shots = low + int(torch.randint(high - low + 1, (), generator=g))
        examples = min(rows - 1, int(torch.randint(config.examples + 1, (), generator=g)))
        queries = 1 if examples else min(rows, config.queries)
        episode = draw_episode(pick(family.train, g), shots, queries, g)
        kernel = KERNELS[int(torch.randint(len(KERNELS), (), generator=g))]
        part = conversations(episode, kernel, examples)
        drawn += part
        rows -= sum(len(shown.captions) for shown in part)
    return drawn


def _noisy(texts: Tensor, noise: float, g: torch.Generator) -> Tensor:
    """Half of the rows get isotropic noise of a norm drawn up to `noise` times their own."""
    n, d = texts.shape
    chosen = torch.rand(n, 1, generator=g) < 0.5
    strength: Tensor = noise * torch.rand(n, 1, generator=g) * chosen * texts.norm(dim=1, keepdim=True)
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
