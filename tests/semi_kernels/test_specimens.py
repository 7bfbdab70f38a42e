"""What the compile-only gate launches: every launcher, each on the GPU of its tensors, with a covering selection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

from semi_kernels import configurations, dispatch
from semi_kernels.compile_gate import OPERATIONS, TARGETS
from semi_kernels.configurations import Blocks, few_rows

KERNELS = {
    "fused_lora": {"_fused_lora"},
    "dequantise": {"_decode", "_merge"},
    "masked_linear": {"_masked_linear", "_masked_weight"},
    "grouped": {
        "rank_kernel", "down_kernel", "sum_splits_kernel", "up_kernel", "outer_kernel", "sum_tiles_kernel"
    },
    "isometry": {"_signed_permutation", "_hadamard", "_householder"},
}  # fmt: skip


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_kernel_is_launched_on_the_gpu_of_its_tensors(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    from triton.runtime.interpreter import InterpretedFunction

    current: list[Tensor] = []
    launched = set()

    @contextmanager
    def device_of(tensor: Tensor) -> Iterator[None]:
        current.append(tensor)
        yield
        current.pop()

    def launch(self: Any, *arguments: Any, grid: tuple[int, ...], **options: Any) -> None:
        assert current, "launched outside of dispatch.device_of"
        assert len(grid) <= 3
        assert all(0 < programs < 1 << 31 for programs in grid[:1])
        assert all(0 < programs < 1 << 16 for programs in grid[1:])  # what CUDA allows
        assert not options["enable_fp_fusion"]
        launched.add(self.fn.__name__)

    monkeypatch.setattr(dispatch, "device_of", device_of)
    monkeypatch.setattr(InterpretedFunction, "__getitem__", lambda self, grid: lambda *a, **k: launch(
        self, *a, grid=grid, **k))  # fmt: skip
    specimens = list(import_module(f"semi_kernels.{operation}.specimens").specimens())
    for specimen in specimens:
        specimen.launch()
    assert launched == KERNELS[operation]


@pytest.mark.parametrize("target", TARGETS)
def test_specimens_reach_every_shipped_tile_of_the_one_launch_kernel(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton")
    from triton.runtime.interpreter import InterpretedFunction

    from semi_kernels.fused_lora import launch, specimens

    chosen: set[tuple[str, int, int, int]] = set()

    def noted(*arguments: Any, **sizes: Any) -> Blocks:
        blocks = few_rows(*arguments, **sizes)
        chosen.add(("dense" if sizes["layout"] == "dense" else "4-bit", blocks.BM, blocks.BN, blocks.BK))
        return blocks

    monkeypatch.setattr(launch, "few_rows", noted)
    monkeypatch.setattr(InterpretedFunction, "__getitem__", lambda self, grid: lambda *a, **k: None)
    gpu = TARGETS[target].gpu
    with configurations.standing_in(gpu):
        for specimen in specimens.specimens():
            specimen.launch()
    file = configurations.nearest(gpu.name, gpu.capability, gpu.backend)
    assert file["gpu"] == gpu.name
    shipped = {(e["weight"], e["BM"], BN, e["BK"]) for e in file["fused_lora"] for BN in (e["BN"][0], e["BN"][-1])}
    assert shipped <= chosen, json.dumps(sorted(shipped - chosen))


def test_a_launch_makes_the_gpu_of_its_tensors_current(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnSecondGpu:
        is_cuda = True

        def get_device(self) -> int:
            return 1

    monkeypatch.setattr(torch.cuda, "device", lambda index: f"cuda:{index}")
    assert dispatch.device_of(OnSecondGpu()) == "cuda:1"  # type: ignore[arg-type, comparison-overlap]
    with dispatch.device_of(torch.zeros(1)) as nothing:
        assert nothing is None


def test_another_gpu_stands_in_only_for_a_while() -> None:
    device = torch.device("cpu")
    before = configurations.gpu(device)
    with configurations.standing_in(TARGETS["gfx942"].gpu):
        assert configurations.gpu(device).backend == "hip"
    assert configurations.gpu(device) is before
