"""The compile-only gate: what it finds, and what it prints. Kernels are compiled, so it runs apart from these tests."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

KERNELS = """
    from functools import partial

    import torch
    import triton
    import triton.language as tl

    from semi_kernels.specimens import Specimen, empty


    @triton.jit
    def multiply(x, y, SIDE: tl.constexpr, PRECISION: tl.constexpr):
        i = tl.arange(0, SIDE)
        at = i[:, None] * SIDE + i[None, :]
        tl.store(y + at, tl.dot(tl.load(x + at), tl.load(x + at), input_precision=PRECISION))


    @triton.jit
    def copy(x, y, BLOCK: tl.constexpr):  # all is loaded before any of it is stored, where it might be loaded from
        i = tl.arange(0, BLOCK)
        tl.store(y + i, tl.load(x + i))


    @triton.jit
    def reverse(x, y, BLOCK: tl.constexpr):  # through shared memory
        i = tl.arange(0, BLOCK)
        tl.store(y + i, tl.gather(tl.load(x + i), BLOCK - 1 - i, axis=0))


    @triton.jit
    def add(x, y, n, step, BLOCK: tl.constexpr):
        i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        tl.store(y + i * step, tl.load(x + i * step, mask=i < n), mask=i < n)


    def launch(kernel, dtype, warps, *arguments):
        x, y = empty(1 << 20, dtype=dtype), empty(1 << 20, dtype=torch.float32)
        kernel[(1,)](x, y, *arguments, num_warps=warps, enable_fp_fusion=False)


    def specimens():
        for label, *call in CALLS:
            yield Specimen(label, partial(launch, *call))


    CALLS = [
        ("spilling", copy, "fp32", 1, 1 << 15),
        ("large", reverse, "fp32", 16, 1 << 16),
        ("tf32", multiply, "fp32", 4, 32, "tf32"),
        ("exact", multiply, "fp32", 4, 16, "ieee"),
        ("twice", add, "fp32", 4, 1000, 1, 128),
        ("twice again", add, "fp32", 4, 1000, 1, 128),
        ("other alignment", add, "fp32", 4, 1000, 3, 128),
        ("impossible", add, "fp32", 4, 1000, 1, 100),
    ]
"""

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs triton")


def gate(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The gate's command line, in a process that compiles."""
    kept = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "semi_kernels.compile_gate", *arguments]
    return subprocess.run(command, env=kept | environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """Rows of kernels written to be at fault, by label and target."""
    folder = tmp_path_factory.mktemp("gate")
    (folder / "bad_kernels.py").write_text(dedent(KERNELS))
    targets = [f"--target={name}" for name in ("sm_80", "sm_90", "gfx942")]
    done = gate("--json", "--jobs", "1", *targets, "bad_kernels", PYTHONPATH=str(folder))
    assert done.returncode == 1, done.stderr
    rows = json.loads(done.stdout)["rows"]
    return {(row["config"], row["target"]): row for row in rows}


@needs_triton
def test_a_row_says_what_a_kernel_takes(found: dict[tuple[str, str], dict[str, Any]]) -> None:
    row = found["exact", "sm_90"]
    assert list(row) == ["kernel", "config", "target", "registers", "spill_bytes", "shared_bytes", "fault"]
    assert (row["kernel"], row["config"], row["target"]) == ("multiply", "exact", "sm_90")
    assert 0 < row["registers"] <= 255
    assert (row["spill_bytes"], row["fault"]) == (0, None)
    assert 16 * 16 * 4 <= row["shared_bytes"] <= 227 * 1024


@needs_triton
@pytest.mark.parametrize("target", ["sm_80", "sm_90", "gfx942"])
def test_a_kernel_that_spills_is_at_fault(found: dict[tuple[str, str], dict[str, Any]], target: str) -> None:
    row = found["spilling", target]
    assert row["spill_bytes"] > 0
    assert row["fault"] == f"spills {row['spill_bytes']} bytes a thread"


@needs_triton
def test_tf32_is_at_fault(found: dict[tuple[str, str], dict[str, Any]]) -> None:
    for target in ("sm_80", "sm_90"):
        assert found["tf32", target]["fault"] == "multiplies float32 in TF32"
        assert found["exact", target]["fault"] is None


@needs_triton
def test_too_much_shared_memory_is_at_fault(found: dict[tuple[str, str], dict[str, Any]]) -> None:
    for target, most in (("sm_80", 163), ("sm_90", 227), ("gfx942", 64)):
        row = found["large", target]
        assert row["shared_bytes"] > most * 1024
        assert f"wants {row['shared_bytes']} bytes of shared memory of {most * 1024}" in row["fault"]


@needs_triton
def test_what_does_not_compile_is_at_fault(found: dict[tuple[str, str], dict[str, Any]]) -> None:
    fault = found["impossible", "sm_90"]["fault"]
    assert fault.startswith("does not compile: ")
    assert "power of 2" in fault


@needs_triton
def test_equal_launches_are_compiled_once(found: dict[tuple[str, str], dict[str, Any]]) -> None:
    labels = [label for label, target in found if target == "sm_90"]
    assert "twice" in labels
    assert "twice again" not in labels
    assert "other alignment" in labels


@needs_triton
def test_one_operation_compiles_for_one_target() -> None:
    done = gate("--quiet", "--jobs", "1", "--target", "sm_90", "dequantise")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "kernels compiled for sm_90, 0 at fault" in done.stderr


def test_the_interpreter_is_refused() -> None:
    done = gate(TRITON_INTERPRET="1")
    assert done.returncode == 2
    assert "TRITON_INTERPRET=1 is set" in done.stderr


def test_without_triton_it_says_that_it_was_skipped() -> None:
    hidden = "import sys; from semi_kernels import compile_gate, dispatch; dispatch._HAS_TRITON = False; "
    done = subprocess.run(
        [sys.executable, "-c", hidden + "sys.exit(compile_gate.main([]))"],
        env={k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"},
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")
    assert "skipped, triton is not installed" in done.stderr
