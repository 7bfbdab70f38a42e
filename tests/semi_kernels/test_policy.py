"""Policy: which way a layer is computed, with which configuration, and who may say so."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from semi_kernels import dispatch
from semi_kernels.configurations import H200, Gpu, few_rows, nearest, shipped
from semi_kernels.fused_lora import plan

BASE: dict[str, Any] = {
    "M": 16, "K": 4096, "rank": 32, "groups": 1, "layout": "nf4_nested", "isometry": "none", "reflections": 0,
    "learning": False, "kernels": True,
}  # fmt: skip
TABLE: list[tuple[dict[str, Any], str]] = [
    ({}, "one launch"),
    ({"M": 0}, "one launch"),
    ({"M": 128}, "one launch"),
    ({"groups": 17}, "one launch"),
    ({"learning": True}, "one launch"),
    ({"isometry": "householder", "reflections": 64}, "one launch"),
    ({"isometry": "signed_permutation"}, "one launch"),
    ({"isometry": "hadamard"}, "one launch"),
    ({"isometry": "hadamard", "K": 4097}, "merge"),
    ({"isometry": "householder", "reflections": 65}, "merge"),
    ({"rank": 256}, "one launch"),
    ({"rank": 257}, "merge"),
    ({"M": 129}, "merge"),
    ({"M": 8192, "layout": "q4_1"}, "merge"),
    ({"M": 129, "learning": True}, "add"),
    ({"M": 129, "layout": "dense"}, "add"),
    ({"M": 129, "layout": "none"}, "add"),
    ({"M": 129, "rank": 0}, "add"),
    ({"M": 129, "groups": 3}, "grouped"),
    ({"M": 129, "groups": 3, "learning": True}, "grouped"),
    ({"kernels": False}, "reference"),
    ({"kernels": False, "M": 8192, "groups": 3}, "reference"),
]


@pytest.mark.parametrize(("changed", "chosen"), TABLE, ids=[str(c) or "few rows" for c, _ in TABLE])
def test_plan(changed: dict[str, Any], chosen: str) -> None:
    assert plan.forward(**{**BASE, **changed}) == chosen


def test_every_shipped_configuration_serves_every_shape() -> None:
    for file in shipped():
        on = Gpu(file["gpu"], tuple(file["capability"]), 100, 64 * 1024)
        for M in (1, 16, 17, 128):
            for N in (1, 576, 4096, 14336):
                for layout in ("dense", "nf4", "nf4_nested", "q4_1", "none"):
                    for rank in (32, 256, 320):
                        for itemsize in (2, 4):
                            b = few_rows(on, M=M, N=N, layout=layout, itemsize=itemsize, rank=rank)
                            assert b.BM >= 16
                            assert b.BN >= 16
                            assert b.BK % 64 == 0  # a whole block of NF4


@pytest.mark.parametrize(
    ("changed", "blocks"),
    [
        ({}, (64, 64, 64, 4)),
        ({"itemsize": 4}, (16, 16, 64, 4)),  # no tensor cores
        ({"itemsize": 4, "layout": "dense"}, (16, 32, 64, 4)),
        ({"straddling": True}, (32, 16, 64, 4)),
        ({"rank": 80}, (64, 32, 64, 4)),
        ({"rank": 144}, (16, 32, 64, 8)),
        ({"M": 16}, (16, 64, 128, 4)),
        ({"M": 16, "rank": 96}, (16, 64, 64, 4)),
    ],
    ids=str,
)
def test_tiles_fit_into_registers(changed: dict[str, Any], blocks: tuple[int, ...]) -> None:
    sizes: dict[str, Any] = {"M": 128, "N": 32768, "layout": "nf4", "itemsize": 2, "rank": 48}
    b = few_rows(H200, **(sizes | changed))
    assert (b.BM, b.BN, b.BK, b.num_warps) == blocks


def test_columns_are_split_until_every_multiprocessor_has_work() -> None:
    def columns(N: int) -> int:
        return few_rows(H200, M=1, N=N, layout="nf4", itemsize=2, rank=32).BN

    assert [columns(N) for N in (14336, 8448, 4224, 2048, 64)] == [64, 64, 32, 16, 16]


@pytest.mark.parametrize(
    ("name", "capability", "gpu"),
    [
        ("NVIDIA H200", (9, 0), "NVIDIA H200"),
        ("nvidia h200", (9, 0), "NVIDIA H200"),
        ("NVIDIA H100 80GB HBM3", (9, 0), "NVIDIA H200"),
        ("NVIDIA A10", (8, 6), "NVIDIA A100-SXM4-80GB"),
        ("NVIDIA GeForce RTX 4090", (8, 9), "NVIDIA A100-SXM4-80GB"),
        ("NVIDIA GeForce RTX 5090", (12, 0), "NVIDIA B200"),
        ("Tesla T4", (7, 5), "NVIDIA A100-SXM4-80GB"),
        ("some GPU of the future", (99, 9), "NVIDIA B200"),
    ],
)
def test_an_unknown_gpu_gets_the_nearest_configuration(name: str, capability: tuple[int, int], gpu: str) -> None:
    assert nearest(name, capability)["gpu"] == gpu


def test_an_amd_gpu_gets_one_for_amd() -> None:
    assert nearest("AMD Instinct MI250X", (9, 0), backend="hip")["gpu"] == "AMD Instinct MI300X"


def test_the_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(1)
    monkeypatch.delenv("SEMI_KERNELS", raising=False)
    assert not dispatch.use_triton(x)
    monkeypatch.setenv("SEMI_KERNELS", "reference")
    assert not dispatch.use_triton(x)
    monkeypatch.setenv("SEMI_KERNELS", "fast")
    with pytest.raises(ValueError, match="SEMI_KERNELS: got 'fast', expected auto, triton, reference"):
        dispatch.use_triton(x)


def test_triton_where_it_cannot_compute_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMI_KERNELS", "triton")
    with pytest.raises(ValueError, match=r"no kernel computes in torch.float64; unset SEMI_KERNELS"):
        dispatch.use_triton(torch.zeros(1, dtype=torch.float64))
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(ValueError, match="a tensor is not on a GPU"):
        dispatch.use_triton(torch.zeros(1))
    monkeypatch.setattr(dispatch, "_HAS_TRITON", False)
    with pytest.raises(ValueError, match="triton is not installed"):
        dispatch.use_triton(torch.zeros(1))
