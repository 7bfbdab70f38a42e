"""Adversarial samples: the embedding moves within a radius so that its own caption becomes less likely."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from semi.integration import BATCH, Integration
from semi.study.conditions import Scene, deviation


def attack(integration: Integration, scene: Scene, radius: float, *, steps: int) -> Scene:
    """The scene with each test embedding moved by at most `radius` deviations of the support in any number.

    One step is the fast gradient sign method (Goodfellow et al. 2015, arXiv 1412.6572). Several are projected gradient
    descent (Madry et al. 2018, arXiv 1706.06083) that begins with that one; of all places on the way the worst is kept.
    """
    model, moved = integration.language_model, []
    bound = torch.from_numpy(radius * deviation(scene)).float().to(model.device)
    for start in range(0, len(scene.test), BATCH):
        pairs = scene.test[start : start + BATCH]
        x = integration.embed([pair.sample for pair in pairs]).to(model.device)
        asked = [pair.instruction or integration.record.instruction for pair in pairs]
        captions = [pair.caption for pair in pairs]

        def losses(change: Tensor, x: Tensor = x, asked: list[str] = asked, captions: list[str] = captions) -> Tensor:
            soft = integration.projector.soft(integration.alignment(x + change))
            recall = list(map(integration.recalled, x + change, asked))
            return model.caption_loss(soft, asked, captions, integration.shown((x + change).detach()), recall)[0]

        moved.append((x + _worst(losses, torch.zeros_like(x), bound, steps)).cpu())
    return scene.with_test(torch.cat(moved).numpy())


def _worst(losses: Callable[[Tensor], Tensor], change: Tensor, bound: Tensor, steps: int) -> Tensor:
    """The change (n, ...) within `bound` that raises the losses (n,) most, of those after each step."""
    worst, highest = change, torch.full((len(change),), -torch.inf, device=change.device)
    for step in range(steps + 1):
        change = change.detach().requires_grad_(True)
        found = losses(change)
        higher = (found.detach() > highest) & (step > 0)
        worst = torch.where(higher.reshape(-1, *[1] * (change.ndim - 1)), change.detach(), worst)
        highest = torch.where(higher, found.detach(), highest)
        if step < steps:
            (gradient,) = torch.autograd.grad(found.sum(), change)
            # A kernel has no slope where a sample lies on one of the support: it stays there.
            size = 1 if step == 0 else 2.5 / steps
            change = (change.detach() + torch.nan_to_num(gradient).sign() * bound * size).clamp(-bound, bound)
    return worst
