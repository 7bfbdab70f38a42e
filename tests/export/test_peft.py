"""Adapters that PEFT reads: onto the same layers, the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from semi.adaptation import adapt
from semi.adapters import ProjectorAdapter
from semi.artifacts import read_manifest, save_tensors, write_json
from semi.errors import InputError
from semi.export.peft import FILES, KIND, export_peft, lora
from semi.foundation import Foundation, FoundationConfig
from semi.hypernetwork import build
from semi.integration import read_parts
from semi.pairs import Pair
from semi.projector import Projector

peft = pytest.importorskip("peft")
SIZES = (5, 7, 6)


class Stack(nn.Module):
    """The projector's layers as any program would hold them."""

    def __init__(self, projector: Projector) -> None:
        super().__init__()
        self.layers = projector.layers

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers[1](nn.functional.gelu(self.layers[0](x), approximate="tanh"))
        return found


def drawn(ranks: tuple[int, int], d_in: int, seed: int, base: tuple[bool, bool] = (True, True)) -> ProjectorAdapter:
    draw = torch.Generator().manual_seed(seed)
    widths = [(d_in, SIZES[1]), (SIZES[1], SIZES[2])]
    shapes = [(a, r, b) for (a, b), r in zip(widths, ranks, strict=True)]
    A = [torch.randn(a, r, generator=draw) for a, r, _ in shapes]
    B = [torch.randn(r, b, generator=draw) for _, r, b in shapes]
    return ProjectorAdapter(A, B, [torch.randn(b, generator=draw) for _, _, b in shapes], list(base))


def written(folder: Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    write_json(folder / FILES[0], config)
    save_tensors(folder / FILES[1], tensors)
    return folder


def through_peft(projector: Projector, folder: Path, x: Tensor) -> Tensor:
    found: Tensor = peft.PeftModel.from_pretrained(Stack(projector), str(folder))(x)
    return found.detach()


@settings(max_examples=20)
@given(ranks=st.tuples(st.integers(0, 4), st.integers(0, 4)), d_in=st.integers(1, SIZES[0]), seed=st.integers(0, 2**31))
def test_peft_computes_the_adapter(
    tmp_path_factory: pytest.TempPathFactory, ranks: tuple[int, int], d_in: int, seed: int
) -> None:
    adapter, projector = drawn(ranks, d_in, seed), Projector(*SIZES)
    x = torch.randn(3, d_in, generator=torch.Generator().manual_seed(seed + 1))
    expected = projector(x, adapter).detach()
    folder = written(tmp_path_factory.mktemp("peft"), *lora(adapter, SIZES[0]))
    padded = nn.functional.pad(x, (0, SIZES[0] - d_in))
    torch.testing.assert_close(through_peft(projector, folder, padded), expected, rtol=1e-5, atol=1e-5)


def test_a_layer_without_an_update_is_left_out() -> None:
    adapter = drawn((2, 0), 5, 0)
    adapter.bias[1].zero_()
    config, tensors = lora(adapter)
    assert config["target_modules"] == ["layers.0"]
    assert all(".layers.0." in name for name in tensors)


@pytest.mark.parametrize(
    ("adapter", "says"),
    [
        (drawn((2, 2), 5, 0, base=(False, True)), "stands in place of a layer"),
        (ProjectorAdapter.stack([drawn((2, 2), 5, seed) for seed in (0, 1)]), "stacked"),
        (ProjectorAdapter(*([torch.zeros(5, 0)], [torch.zeros(0, 7)], [torch.zeros(7)]), [True]), "changes nothing"),
    ],
    ids=["no base", "stacked", "nothing"],
)
def test_what_is_no_lora_is_refused(adapter: ProjectorAdapter, says: str) -> None:
    with pytest.raises(InputError, match=says):
        lora(adapter)


def test_a_layer_too_narrow_is_refused() -> None:
    with pytest.raises(InputError, match="wider than the layer"):
        lora(drawn((2, 2), 5, 0), 4)


@pytest.fixture
def attention(tiny_foundation: Foundation, tiny_text: str) -> Foundation:
    """The tiny foundation with the paper's hypernetwork."""
    projector = tiny_foundation.projector
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hypernetwork = build("attention", {"rank": 3, "alpha": 3.0, "n_pairs": 8}, projector)
    config = FoundationConfig(tiny_foundation.config.language_model, tiny_foundation.config.text_encoder)
    return Foundation(
        config, tiny_foundation.language_model, tiny_foundation.text_encoder, projector, hypernetwork, sha256="x"
    )


def test_an_integration_is_exported(attention: Foundation, tmp_path: Path) -> None:
    pairs = [Pair([float(i % 3), i / 8, 1.0, -float(i)], ("red cat", "green dog")[i % 2]) for i in range(8)]
    adapt(attention, "vectors", pairs, out=tmp_path / "made", steps=0, examples=0, diagnose=False)
    export_peft(tmp_path / "made", tmp_path / "peft", width=16)
    assert set(read_manifest(tmp_path / "peft", KIND)["files"]) == set(FILES)
    assert json.loads((tmp_path / "peft" / FILES[0]).read_text())["r"] == 3
    parts = read_parts(tmp_path / "made")
    aligned = parts.alignment(torch.randn(4, 4))
    found = through_peft(attention.projector, tmp_path / "peft", nn.functional.pad(aligned, (0, 16 - aligned.shape[1])))
    torch.testing.assert_close(found, parts.projector(aligned), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "says"),
    [({"method": "scratch", "steps": 1}, "trained as a whole"), ({"steps": 1}, "no longer its adapter")],
    ids=["no adapter", "trained further"],
)
def test_an_integration_that_is_no_adapter_is_refused(
    attention: Foundation, tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    pairs = [Pair([float(i % 3), i / 8], ("red cat", "green dog")[i % 2]) for i in range(8)]
    adapt(attention, "vectors", pairs, out=tmp_path / "made", examples=0, diagnose=False, **options)
    with pytest.raises(InputError, match=says):
        export_peft(tmp_path / "made", tmp_path / "peft")
    assert not (tmp_path / "peft").exists()
