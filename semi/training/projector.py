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
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
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
from semi.training.processes import ALONE, BatchLoss, Processes
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
    processes: Processes = ALONE,
) -> tuple[Projector, History]:
    """Train, resuming what `folder` holds; projector.safetensors and metrics.jsonl are left there.

    Args:
        families: of `load_families`; the first text family feeds the warm start.
        d_text: width of caption embeddings.
        processes: that train together, each on its share of every batch.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        projector = Projector(d_text, config.projector.d_hidden, language_model.d_lm, config.projector.soft_tokens)
    if config.start:
        load_module(projector, config.start / WEIGHTS)
    projector.to(language_model.device)
    if config.warm_start:
        train(
            projector,
            _warm_start(projector, families, language_model, processes),
            Schedule(config.warm_start, lr=1e-3, warmup=20, seed=config.seed, save_every=config.warm_start),
            folder=_made(folder / "warm-start"),
            processes=processes,
        )

    def batch_loss(g: torch.Generator) -> Tensor:
        drawn: list[Drawn] = []
        for family, rows in zip(families, shares(families, config.batch), strict=True):
            drawn += _rows(family, rows, config, g)
        mixed = config.mixed(language_model.device)
        nats, tokens = shared_loss(projector, language_model, drawn, processes, mixed)
        return nats / processes.total(tokens)

    history = train(
        projector,
        batch_loss,
        config.schedule.build(config.seed),
        validate=lambda: fmean(
            validation_losses(projector, families, language_model, config.examples, processes).values()
        ),
        folder=folder,
        advance=advance,
        processes=processes,
    )
    if processes.first:
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


@dataclass(frozen=True)
class Drawn:
    """Conversations that are drawn but not made: only the process whose share they are fits their support set.

    Attributes:
        turns: of all of them.
    """

    turns: int
    make: Callable[[], list[Shown]]


def shown_loss(projector: Projector, language_model: LanguageModel, drawn: Sequence[Shown]) -> tuple[Tensor, Tensor]:
    """Summed nats and tokens of the captions of all turns."""
    soft = projector.soft(torch.cat([shown.predicted for shown in drawn]).to(language_model.device))
    turns = [
        [Turn(*turn) for turn in zip(part, [shown.instruction] * len(part), shown.captions, strict=True)]
        for shown, part in zip(drawn, torch.split(soft, [len(shown.captions) for shown in drawn]), strict=True)
    ]
    return language_model.answer_loss(turns, every_turn=True)


def shared_loss(
    projector: Projector,
    language_model: LanguageModel,
    drawn: Sequence[Drawn],
    processes: Processes,
    mixed: AbstractContextManager[object],
) -> tuple[Tensor, Tensor]:
    """The same of this process's share, each summed up.

    Args:
        mixed: what projector and language model compute in, `ProjectorConfig.mixed`.
    """
    mine = processes.share([each.turns for each in drawn])
    shown = [one for each in drawn[mine.slice] for one in each.make()]
    with mixed:
        nats, tokens = shown_loss(projector, language_model, shown)
    return mine.weight * nats.sum(), mine.weight * tokens.sum()


@torch.no_grad()
def validation_losses(
    projector: Projector,
    families: Sequence[Family],
    language_model: LanguageModel,
    examples: int = 0,
    processes: Processes = ALONE,
) -> dict[str, float]:
    """Caption loss per token of each family's validation rows; 32-shot predictions for all but text.

    With examples, a second entry for every family but text: the loss over all turns of conversations with so many
    examples, as many turns in all.
    """
    names, sums = [], []
    for number, family in enumerate(families):
        is_text = family.validation[0].is_text
        for shown in [0] if is_text or not examples else [0, examples]:
            g = generator(number, 7)
            nats, tokens = 0.0, 0
            for _ in range(VALIDATION_ROWS // 16):
                source = pick(family.validation, g)
                episode = draw_episode(source, 0 if is_text else VALIDATION_SHOTS, -(-16 // (1 + shown)), g)
                drawn = (
                    _alone(source.texts[episode.queries], episode) if is_text else [_fitted(episode, KERNELS[0], shown)]
                )
                loss, count = shared_loss(projector, language_model, drawn, processes, nullcontext())
                nats, tokens = nats + float(loss), tokens + int(count)
            name = f"{number}-{family.validation[0].name}"
            names.append(f"{name}, {shown} examples" if shown else name)
            sums.append([nats, tokens])
    totals = processes.total(torch.tensor(sums, dtype=torch.float64, device=language_model.device)).tolist()
    return {name: nats / tokens for name, (nats, tokens) in zip(names, totals, strict=True)}


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
        return _one_by_one(predicted, episode)
    source, unseen = episode.source, ridge.predict_unseen(z_support).float()
    pairs = episode.support.tolist()
    result = []
    for row, caption, nearest in zip(
        predicted, episode.captions, Retrieval.of(ridge).nearest(z, examples).flip(1), strict=True
    ):
        captions = [source.captions[pairs[i]] for i in nearest.tolist()]
        result.append(Shown(torch.cat([unseen[nearest], row[None]]), [*captions, caption], source.instruction))
    return result


def _one_by_one(predicted: Tensor, episode: Episode) -> list[Shown]:
    """Queries without examples."""
    rows = zip(torch.split(predicted, 1), episode.captions, strict=True)
    return [Shown(row, [caption], episode.source.instruction) for row, caption in rows]


def _alone(predicted: Tensor, episode: Episode) -> list[Drawn]:
    """The same, each to be shared out by itself."""
    return [Drawn(1, partial(list, [shown])) for shown in _one_by_one(predicted, episode)]


def _fitted(episode: Episode, kernel: tuple[str, float], examples: int) -> Drawn:
    """`conversations` to be made."""
    turns = len(episode.queries) * (1 + min(examples, len(episode.support)))
    return Drawn(turns, partial(conversations, episode, kernel, examples))


def _rows(family: Family, rows: int, config: ProjectorConfig, g: torch.Generator) -> list[Drawn]:
    """Conversations of `rows` turns in all."""
    if family.train[0].is_text:
        source = pick(family.train, g)
        episode = draw_episode(source, 0, rows, g)
        return _alone(_noisy(source.texts[episode.queries], config.noise, g), episode)
    drawn: list[Drawn] = []
    while rows > 0:
        low, high = config.shots
        shots = low + int(torch.randint(high - low + 1, (), generator=g))
        examples = min(rows - 1, int(torch.randint(config.examples + 1, (), generator=g)))
        queries = 1 if examples else min(rows, config.queries)
        episode = draw_episode(pick(family.train, g), shots, queries, g)
        drawn.append(_fitted(episode, KERNELS[int(torch.randint(len(KERNELS), (), generator=g))], examples))
        rows -= drawn[-1].turns
    return drawn


def _noisy(texts: Tensor, noise: float, g: torch.Generator) -> Tensor:
    """Half of the rows get isotropic noise of a norm drawn up to `noise` times their own."""
    n, d = texts.shape
    chosen = torch.rand(n, 1, generator=g) < 0.5
    strength: Tensor = noise * torch.rand(n, 1, generator=g) * chosen * texts.norm(dim=1, keepdim=True)
    return texts + strength / math.sqrt(d) * torch.randn(n, d, generator=g)


def _warm_start(
    projector: Projector, families: Sequence[Family], language_model: LanguageModel, processes: Processes
) -> BatchLoss:
    """Squared error to the mean input embeddings of the caption's consecutive parts, one part a soft token."""
    text = [s for f in families for s in f.train if s.is_text] or [s for f in families for s in f.train]

    def batch_loss(g: torch.Generator) -> Tensor:
        source = pick(text, g)
        episode = draw_episode(source, 0, 128, g)
        mine = processes.share([1] * len(episode.queries))
        part = mine.weight * (mine.stop - mine.start) / len(episode.queries)
        soft = projector.soft(source.texts[episode.queries[mine.slice]].to(language_model.device))  # (n, t, d_lm)
        with torch.no_grad():
            target = language_model.embed_parts(episode.captions, soft.shape[1]).to(soft)
        return part * (soft - target[mine.slice]).square().sum(-1).mean() / target.square().sum(-1).mean()

    return batch_loss


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
