"""The arithmetic of floors, roofs and the table of GPUs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from semi_kernels.bench.cases import KERNELS, LAYERS, Case, Mode, grid, small, tiny
from semi_kernels.bench.floors import Work, floor, roof, weight_bytes, work
from semi_kernels.bench.hardware import H200, Hardware, known
from semi_kernels.bench.problems import draw
from semi_kernels.bench.providers import COLUMNS, EAGER, PROVIDERS, UNSLOTH

# Microseconds on an H200, bytes and operations only, from the design of the kernels: bf16 and NF4 at 1 and 64 rows.
TABLE = {
    (768, 2048): ((0.78, 0.23), (0.86, 0.32), 1.1, 4.3, 34),
    (1024, 4096): ((2.0, 0.58), (2.2, 0.73), 2.8, 11.3, 90),
    (4096, 4096): ((7.9, 2.1), (8.2, 2.8), 11.0, 44, 353),
    (4096, 14336): ((27.6, 7.3), (28, 9.6), 38, 154, 1230),
}


def bare(case: Case) -> float:
    terms = floor(case, H200).terms
    return max(terms["bytes_us"], terms["flops_us"])


@pytest.mark.parametrize(("K", "N"), LAYERS)
def test_the_table_of_the_design(K: int, N: int) -> None:
    one, few, *many = TABLE[K, N]
    case = Case("fused_lora", 1, K, N)
    for M, (dense, packed) in ((1, one), (64, few)):
        assert bare(replace(case, M=M)) == pytest.approx(dense, rel=0.025)
        assert bare(replace(case, M=M, quantisation="nf4")) == pytest.approx(packed, rel=0.025)
    for M, expected in zip((256, 1024, 8192), many, strict=True):
        assert bare(replace(case, M=M)) == pytest.approx(expected, rel=0.025)


def test_shuffles_are_about_the_byte_floor_of_nf4() -> None:
    terms = floor(Case("fused_lora", 1, 4096, 14336, quantisation="nf4"), H200).terms
    assert 7.0 <= terms["shuffles_us"] <= 7.9
    assert floor(Case("fused_lora", 1, 4096, 14336, quantisation="q4_1"), H200).terms["shuffles_us"] == 0


def test_a_floor_is_its_largest_term_and_the_empty_kernel() -> None:
    found = floor(Case("nf4_linear", 64, 4096, 4096, quantisation="nf4"), H200, t_null_us=2.5)
    names = ("bytes_us", "flops_us", "shuffles_us", "decode_us")
    assert found.us == pytest.approx(max(found.terms[name] for name in names) + 2.5)
    assert found.terms["t_null_us"] == 2.5
    assert found.terms["gpu"] == "NVIDIA H200"


def test_the_peers_own_roofs_give_the_ceilings_of_the_design() -> None:
    """1.2 to 1.4 for 4096 -> 4096, 1.7 to 2.8 for layers up to 1024 wide, at 1024 and 8192 rows."""
    for M in (1024, 8192):
        for (K, N), (least, most) in {
            (4096, 4096): (1.2, 1.4),
            (768, 2048): (1.7, 3.0),
            (1024, 4096): (1.7, 2.9),
        }.items():
            case = Case("fused_lora", M, K, N)
            ceiling = (roof(case, EAGER.passes(case), H200) or 0) / (floor(case, H200).us or 1)
            assert least <= ceiling <= most, (M, K, N, ceiling)


def test_no_provider_can_beat_the_floor() -> None:
    for case in grid("fused_lora") + grid("nf4_linear"):
        for provider in PROVIDERS:
            own = roof(case, provider.passes(case), H200)
            least = floor(case, H200).us
            assert own is None or least is None or provider.obstacle(case, _cpu()) or own > 0.97 * bare(case)


def test_fewer_passes_are_a_lower_roof() -> None:
    case = Case("fused_lora", 8192, 4096, 4096)
    columns, unsloth, eager = (roof(case, p.passes(case), H200) or 0 for p in (COLUMNS, UNSLOTH, EAGER))
    assert max(columns, unsloth) < eager


@pytest.mark.parametrize("kernel", KERNELS)
def test_work_of_the_whole_is_that_of_both_directions(kernel: str) -> None:
    for case in small(kernel):
        forward, backward, full = (work(replace(case, mode=mode)) for mode in _modes())
        if kernel == "isometry":
            continue
        assert full.flops == forward.flops + backward.flops
        saved = case.M * case.N * case.itemsize if case.gelu else 0
        assert full.bytes == forward.bytes + backward.bytes + saved
        assert forward.bytes > 0


def test_bytes_of_a_weight_are_those_that_are_stored() -> None:
    for quantisation in ("dense", "nf4", "q4_1"):
        case = Case("fused_lora", 1, 64, 96, dtype="fp32", quantisation=quantisation)
        stored = draw(case, _cpu()).first.weight.nbytes
        assert weight_bytes(case, 64, 96) == stored, quantisation


def test_fp32_has_the_peak_of_fp32() -> None:
    terms = floor(Case("fused_lora", 8192, 4096, 4096, dtype="fp32"), H200).terms
    assert terms["flops_us"] == pytest.approx(
        work(Case("fused_lora", 8192, 4096, 4096)).flops / 66.9e12 * 1e6, rel=0.01
    )


@pytest.mark.parametrize(
    ("name", "bandwidth", "source"),
    [
        ("NVIDIA H200", 4.3e12, "measured"),
        ("NVIDIA H100 80GB HBM3", 3.35e12, "datasheet"),
        ("NVIDIA H100 PCIe", 2.0e12, "datasheet"),
        ("NVIDIA A100-SXM4-40GB", 1.555e12, "datasheet"),
        ("NVIDIA A100-SXM4-80GB", 2.0e12, "datasheet"),
        ("NVIDIA B200", 8.0e12, "datasheet"),
    ],
)
def test_known_gpus(name: str, bandwidth: float, source: str) -> None:
    found = known(name)
    assert found is not None
    assert (found.name, found.bandwidth, found.source) == (name, bandwidth, source)


@pytest.mark.parametrize("name", ["NVIDIA GH200 480GB", "NVIDIA GB200", "NVIDIA GeForce RTX 4090", "NVIDIA H20"])
def test_other_gpus_are_not_taken_for_known_ones(name: str) -> None:
    assert known(name) is None


def test_an_unknown_roof_gives_no_floor() -> None:
    nobody = Hardware("?", None, None, None, None, "unknown")
    found = floor(Case("fused_lora", 1, 768, 2048), nobody)
    assert found.us is None
    assert found.terms["bytes_us"] is None
    assert roof(Case("fused_lora", 1, 768, 2048), [Work(1, 1)], nobody) is None


@pytest.mark.parametrize("kernel", KERNELS)
def test_grids_have_no_case_twice(kernel: str) -> None:
    for cases in (grid(kernel), small(kernel), small(kernel, quick=True), tiny(kernel)):
        assert cases
        assert len(set(cases)) == len(cases)


def test_the_grid_of_the_design_is_complete() -> None:
    cases = set(grid("fused_lora"))
    for K, N in LAYERS:
        for M in (1, 16, 64, 128, 256, 1024, 8192):
            for kind in ("dense", "nf4", "q4_1"):
                assert Case("fused_lora", M, K, N, quantisation=kind) in cases


@pytest.mark.parametrize(("kernel", "dtype"), [("gemm", "bf16"), ("fused_lora", "int8")])
def test_an_unknown_name_says_which_there_are(kernel: str, dtype: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        grid(kernel, dtype)


def _modes() -> tuple[Mode, Mode, Mode]:
    return "fwd", "bwd", "full"


def _cpu() -> object:
    import torch

    return torch.device("cpu")
