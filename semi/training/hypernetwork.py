"""Training 2: the hypernetwork, with the projector frozen.

Each batch holds a few episodes. An episode draws one modality, a support set and disjoint queries from it, and one
isometry for the embeddings of both (never for the text embeddings), so that the geometry of the encoder has to be read
off the pairs (SEMI section 3.2). The loss is the queries' caption loss through the adapted projector, unmerged; or, by
distillation, how far their soft tokens are from those that the projector makes of their captions themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from semi.artifacts import save_tensors
from semi.hypernetwork import HyperNetwork
from semi.language_model import LanguageModel
from semi.projector import Projector
from semi.training.config import HyperNetworkConfig
from semi.training.loop import History, generator, train
from semi.training.processes import ALONE, Processes
from semi.training.projector import VALIDATION_ROWS, VALIDATION_SHOTS
from semi.training.sources import Episode, Family, draw_episode, pick, shares
from semi_kernels.isometry import Haar, Hadamard, Householder, Isometry, SignedPermutation

_ISOMETRIES: dict[str, Callable[[int, torch.Generator], Isometry]] = {
    "haar": lambda d, g: Haar.sample(d, generator=g),
    "householder": lambda d, g: Householder.sample(d, generator=g, k=min(8, d)),
    "signed_permutation": lambda d, g: SignedPermutation.sample(d, generator=g),
    "hadamard": lambda d, g: Hadamard.sample(d, generator=g),
}


def train_hypernetwork(
    config: HyperNetworkConfig,
    families: Sequence[Family],
    hypernetwork: HyperNetwork,
    projector: Projector,
    language_model: LanguageModel,
    instruction: Callable[[str], Tensor],
    folder: Path,
    *,
    advance: Callable[[int, str], None] = lambda step, note: None,
    processes: Processes = ALONE,
) -> History:
    """Train in place, resuming what `folder` holds; hypernetwork.safetensors and metrics.jsonl are left there.

    Args:
        families: of `load_families`. Text is a modality like the others here.
        instruction: embedding (1, d_text) of an instruction.
        processes: that train together, each on its share of every batch's queries.
    """
    device = language_model.device
    projector.requires_grad_(False).to(device)
    hypernetwork.to(device)

    def loss_of(episodes: Sequence[Episode], isometries: Sequence[Isometry | None]) -> Tensor:
        """This process's part of the mean loss."""
        soft, captions, instructions, errors = [], [], [], []
        weight, shares = _shares(episodes, processes)
        for episode, isometry, mine in zip(episodes, isometries, shares, strict=True):
            if not mine:
                continue
            support, texts, queries = episode.tensors
            if isometry is not None:
                support, queries = isometry.apply(support), isometry.apply(queries)
            support, texts, queries = support.to(device), texts.to(device), queries.to(device)
            alignment = hypernetwork.align(support, texts)
            adapter = hypernetwork(alignment(support), texts, instruction(episode.source.instruction))
            with config.mixed(device):
                soft.append(projector.soft(alignment(queries[mine]), adapter))
            captions += [episode.captions[i] for i in mine]
            instructions += [episode.instructions[i] for i in mine]
            if config.loss == "distillation":
                with torch.no_grad():
                    target = projector.soft(episode.source.texts[episode.queries].to(device))
                    plain = projector.soft(texts.mean(0, keepdim=True))
                error = (soft[-1] - target[mine]).square().mean() / (plain - target).square().mean()
                errors.append(weight * len(mine) / len(target) * error)
        if config.loss == "distillation":
            return torch.stack(errors).sum() / len(episodes)
        with config.mixed(device):
            nats, tokens = language_model.caption_loss(torch.cat(soft), instructions, captions)
        return weight * nats.sum() / processes.total(weight * tokens.sum())

    def batch_loss(g: torch.Generator) -> Tensor:
        episodes = []
        for family, rows in zip(families, shares(families, config.batch), strict=True):
            for start in range(0, rows, config.queries):
                low, high = config.shots
                shots = low + int(torch.randint(high - low + 1, (), generator=g))
                episodes.append(draw_episode(pick(family.train, g), shots, min(config.queries, rows - start), g))
        draw = _ISOMETRIES.get(config.isometry)
        isometries = [draw(e.source.embeddings.shape[1], g) if draw else None for e in episodes]
        return loss_of(episodes, isometries)

    @torch.no_grad()
    def validate() -> float:
        losses = []
        for number, family in enumerate(families):
            g = generator(number, 11)
            episodes = [
                draw_episode(pick(family.validation, g), VALIDATION_SHOTS, 16, g) for _ in range(VALIDATION_ROWS // 16)
            ]
            losses.append(float(loss_of(episodes, [None] * len(episodes))))
        totals: list[float] = processes.total(torch.tensor(losses, dtype=torch.float64, device=device)).tolist()
        return sum(totals) / len(totals)

    history = train(
        hypernetwork,
        batch_loss,
        config.schedule.build(config.seed),
        validate=validate,
        folder=folder,
        advance=advance,
        processes=processes,
    )
    if processes.first:
        save_tensors(folder / "hypernetwork.safetensors", hypernetwork.state_dict())
    return history


def _shares(episodes: Sequence[Episode], processes: Processes) -> tuple[int, list[list[int]]]:
    """The weight of this process's queries (`Share.weight`), and which they are of each episode."""
    rows = [(number, i) for number, episode in enumerate(episodes) for i in range(len(episode.queries))]
    mine = processes.share([1] * len(rows))
    return mine.weight, [[i for n, i in rows[mine.slice] if n == number] for number in range(len(episodes))]
