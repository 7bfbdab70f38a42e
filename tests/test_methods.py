from __future__ import annotations

import pytest
import torch
from torch import Tensor

from semi.adapters import ProjectorAdapter
from semi.errors import InputError
from semi.hypernetwork import AttentionHyperNetwork, HyperNetwork, RidgeHyperNetwork
from semi.methods import METHODS, Start, Support, start
from semi.projector import Projector


def shared() -> tuple[Projector, RidgeHyperNetwork]:
    torch.manual_seed(0)
    projector = Projector(16, 24, 10, soft_tokens=2)
    return projector, RidgeHyperNetwork(projector, d_correction=8)


def support(k: int = 8, d: int = 30) -> Support:
    g = torch.Generator().manual_seed(1)
    texts = torch.nn.functional.normalize(torch.randn(k, 16, generator=g), dim=1)
    return Support(5 + 3 * texts @ torch.randn(16, d, generator=g), texts, torch.ones(1, 16))


def soft(begun: Start, x: Tensor) -> Tensor:
    return begun.soft(x)


@pytest.mark.parametrize("d", [5, 16, 40])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_merged_is_what_was_trained(method: str, d: int) -> None:
    s = support(d=d)
    begun = start(method, s, *shared(), seed=0)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in begun.module.parameters():
            parameter.add_(0.1 * torch.ones_like(parameter))
    merged = begun.merged().soft(begun.alignment(s.embeddings)).detach()
    torch.testing.assert_close(merged, soft(begun, s.embeddings), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_training_it_leaves_the_foundation_as_it_was(method: str) -> None:
    projector, net = shared()
    before = {k: v.clone() for k, v in [*projector.state_dict().items(), *net.state_dict().items()]}
    begun = start(method, support(), projector, net, seed=0)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in begun.module.parameters():
            parameter.add_(1.0)
    for name, tensor in [*projector.state_dict().items(), *net.state_dict().items()]:
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_alone_decides(method: str) -> None:
    s, parts = support(), shared()
    torch.manual_seed(5)
    first = soft(start(method, s, *parts, seed=1), s.embeddings)  # type: ignore[arg-type]
    torch.manual_seed(6)
    assert torch.equal(first, soft(start(method, s, *parts, seed=1), s.embeddings))  # type: ignore[arg-type]
    changed = not torch.equal(first, soft(start(method, s, *parts, seed=2), s.embeddings))  # type: ignore[arg-type]
    assert changed == (method == "scratch")  # all others start from what was trained


def test_lora_and_finetune_start_at_the_shared_projector() -> None:
    projector, net = shared()
    s = support()
    starts = [start(method, s, projector, net, seed=0) for method in ("lora", "finetune")]
    for begun in starts:
        z = begun.alignment(s.embeddings)
        torch.testing.assert_close(begun.module.soft(z), projector.soft(z))
    z = starts[0].alignment(s.embeddings)
    assert float(z.square().sum(1).mean()) == pytest.approx(float(s.texts.square().sum(1).mean()), rel=1e-4)


def test_scratch_knows_nothing_of_the_foundation() -> None:
    projector, net = shared()
    s = support()
    first = soft(start("scratch", s, projector, net, seed=0), s.embeddings)
    with torch.no_grad():
        projector.get_parameter("layers.0.weight").mul_(3.0)
    assert torch.equal(first, soft(start("scratch", s, projector, net, seed=0), s.embeddings))


@pytest.mark.parametrize("kind", ["ridge", "attention"])
def test_semi_starts_at_what_the_hypernetwork_wrote(kind: str) -> None:
    projector, ridge = shared()
    attention = AttentionHyperNetwork([16, 24], [24, 20], d_hyper=16, rank=2, alpha=2.0, n_pairs=8)
    net: HyperNetwork = ridge if kind == "ridge" else attention
    s = support()
    begun = start("semi", s, projector, net, seed=0)
    assert isinstance(begun.adapter, ProjectorAdapter)
    z = begun.alignment(s.embeddings)
    torch.testing.assert_close(begun.soft(s.embeddings), projector.soft(z, begun.adapter), rtol=1e-4, atol=1e-4)
    assert not any(t.requires_grad for t in begun.adapter.tensors().values())


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(InputError, match="unknown method") as refused:
        start("magic", support(), *shared(), seed=0)  # type: ignore[arg-type]
    assert "semi, ridge, scratch, finetune, lora, bias" in str(refused.value)
