"""Several integrations over one language model: batched as one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semi.adaptation import adapt
from semi.foundation import Foundation
from semi.hypernetwork import build
from semi.integration import Integration
from semi.pairs import Pair
from semi.streams.joint import JointProjector
from semi.vectors import Vectors

WIDTHS = {"wrist": 4, "ankle": 9, "camera": 14}


class Of(Vectors):
    """Vectors under a name of their own."""

    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc]


@pytest.fixture(scope="module")
def foundation(foundation_folder: Path, tiny_text_site: Path) -> Iterator[Foundation]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tiny_text_site)
        yield Foundation.load(foundation_folder, device="cpu")


def adapted(foundation: Foundation, name: str, steps: int = 0, examples: int = 0) -> Integration:
    width = WIDTHS[name]
    g = np.random.default_rng(width)
    words = ("a red cat", "a blue car", "a small house")
    pairs = [Pair((g.normal(size=width) + 3 * np.eye(width)[i % 3]).tolist(), words[i % 3]) for i in range(width + 3)]
    return adapt(foundation, Of(name), pairs, steps=steps, examples=examples, diagnose=False)


@pytest.fixture(scope="module")
def integrations(foundation: Foundation) -> dict[str, Integration]:
    return {name: adapted(foundation, name) for name in WIDTHS}


def drawn(name: str, t: int, seed: int) -> Tensor:
    """An embedding (d_enc,), or (t, d_enc)."""
    shape = (t, WIDTHS[name]) if t else (WIDTHS[name],)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def alone(integration: Integration, embedding: Tensor) -> Tensor:
    return integration.soft(embedding[None])[0]


def assert_near(found: Tensor, expected: Tensor) -> None:
    assert found.shape == expected.shape
    scale = max(1.0, float(expected.abs().max()))
    assert float((found - expected).abs().max()) <= 1e-5 * scale


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.sampled_from(list(WIDTHS)), st.integers(0, 3)), min_size=1, max_size=8), st.integers(0, 99)
)
def test_one_pass_gives_the_soft_tokens_of_each(
    integrations: dict[str, Integration], chosen: list[tuple[str, int]], seed: int
) -> None:
    samples = [(name, drawn(name, t, seed + i)) for i, (name, t) in enumerate(chosen)]
    joint = JointProjector(integrations)
    assert joint.shared == [set(WIDTHS)]
    for (name, embedding), found in zip(samples, joint.soft(samples), strict=True):
        assert_near(found, alone(integrations[name], embedding))


def test_what_was_trained_further_has_a_pass_of_its_own(foundation: Foundation) -> None:
    both = {"wrist": adapted(foundation, "wrist"), "camera": adapted(foundation, "camera")}
    trained = adapted(foundation, "ankle", steps=2)
    joint = JointProjector(both | {"ankle": trained})
    assert joint.shared == [{"wrist", "camera"}]
    samples = [(name, drawn(name, 0, i)) for i, name in enumerate(WIDTHS)]
    for (name, embedding), found in zip(samples, joint.soft(samples), strict=True):
        assert_near(found, alone((both | {"ankle": trained})[name], embedding))


def test_integrations_of_different_foundations_share_nothing(integrations: dict[str, Integration]) -> None:
    wrist, camera = integrations["wrist"], integrations["camera"]
    own = {
        "wrist": wrist,
        "camera": Integration(
            replace(camera.record, foundation="another"),
            camera.language_model,
            camera.modality,
            camera.encoder,
            camera.alignment,
            camera.projector,
            camera.memory,
            adapter=camera.adapter,
        ),
    }
    assert JointProjector(own).shared == []


def test_adapters_with_a_base_path_share_it(foundation: Foundation) -> None:
    """Those of an attention hypernetwork, of samples as wide as the projector and narrower."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hypernetwork = build("attention", {"rank": 2, "alpha": 2.0, "n_pairs": 32}, foundation.projector)
    other = Foundation(
        foundation.config,
        foundation.language_model,
        foundation.text_encoder,
        foundation.projector,
        hypernetwork,
        sha256="attention",
    )
    integrations = {name: adapted(other, name) for name in WIDTHS}
    assert all(all(each.adapter.base) for each in integrations.values() if each.adapter)
    joint = JointProjector(integrations)
    assert joint.shared == [set(WIDTHS)]
    samples = [(name, drawn(name, 2, i)) for i, name in enumerate(WIDTHS)]
    for (name, embedding), found in zip(samples, joint.soft(samples), strict=True):
        assert_near(found, alone(integrations[name], embedding))
