"""Compile every shipped kernel configuration for GPUs that need not be there, and refuse spills.

    python -m semi_kernels.compile_gate [--json] [--only NAME] [--target TARGET]

Exit status 1 if a kernel spills registers, wants more shared memory than the target has, or multiplies float32 in TF32.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from semi_kernels.dispatch import Specimen

OPERATIONS = ("fused_lora", "dequantise", "masked_linear", "grouped", "isometry")
"""Each has `launch.specimens()`."""
KIB = 1024


@dataclass(frozen=True)
class Target:
    """A GPU architecture and what it gives a program."""

    backend: str
    arch: int | str
    warp: int
    shared: int
    registers: int
    """Most a thread can have."""


TARGETS = {
    "sm_80": Target("cuda", 80, 32, 163 * KIB, 255),
    "sm_90": Target("cuda", 90, 32, 227 * KIB, 255),
    "sm_100": Target("cuda", 100, 32, 227 * KIB, 255),
    "gfx942": Target("hip", "gfx942", 64, 64 * KIB, 512),
}


@dataclass(frozen=True)
class Row:
    """A kernel, compiled."""

    kernel: str
    config: str
    target: str
    registers: int
    spill_bytes: int
    shared_bytes: int
    fault: str | None
    """Why it must not be shipped."""


def compile_row(specimen: Specimen, name: str) -> Row:
    """Compile for the target called `name` and read its resources from the machine code."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource, compile

    target = TARGETS[name]
    arguments = list(specimen.kernel.arg_names)
    # What a launch finds out about its arguments: tensors begin at multiples of 16 bytes.
    aligned: dict[Any, Any] = {
        (i,): [["tt.divisibility", 16]]
        for i, a in enumerate(arguments)
        if specimen.signature[a].startswith("*") or a in specimen.multiples_of_16
    }
    source = ASTSource(specimen.kernel, dict(specimen.signature), dict(specimen.constexprs), aligned)
    stages = specimen.num_stages if target.backend == "cuda" else min(specimen.num_stages, 2)
    options = {"num_warps": specimen.num_warps, "num_stages": stages, "enable_fp_fusion": False}
    compiled = compile(source, target=GPUTarget(target.backend, target.arch, target.warp), options=options)
    if target.backend == "cuda":
        registers, spilled = _cuda_resources(compiled.asm["cubin"])
        tf32 = "tf32" in compiled.asm["ptx"]
    else:
        registers, spilled = _amd_resources(compiled.asm["amdgcn"])
        tf32 = "xf32" in compiled.asm["amdgcn"]
    shared = int(compiled.metadata.shared)
    fault = None
    if spilled:
        fault = f"spills {spilled} bytes a thread"
    elif shared > target.shared:
        fault = f"wants {shared} bytes of shared memory of {target.shared}"
    elif tf32:
        fault = "multiplies float32 in TF32"
    return Row(specimen.kernel.__name__.lstrip("_"), specimen.label, name, registers, spilled, shared, fault)


def _cuda_resources(cubin: bytes) -> tuple[int, int]:
    """Registers and bytes of stack a thread, as cuobjdump reads them. A stack frame is what spills go to."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        report = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True)
    found = re.search(r"REG:(\d+) STACK:(\d+)", report.stdout + report.stderr)
    if found is None:
        raise RuntimeError(f"cuobjdump: got {report.stdout!r}, expected REG and STACK")
    return int(found[1]), int(found[2])


def _amd_resources(assembly: str) -> tuple[int, int]:
    """Vector registers and bytes of scratch a thread."""
    registers = re.search(r"\.vgpr_count:\s+(\d+)", assembly)
    scratch = re.search(r"\.private_segment_fixed_size:\s+(\d+)", assembly)
    if registers is None or scratch is None:
        raise RuntimeError("amdgcn: got an assembly without .vgpr_count, expected it in the metadata")
    return int(registers[1]), int(scratch[1])


def rows(only: str | None = None, targets: tuple[str, ...] = tuple(TARGETS)) -> Iterator[Row]:
    """Every specimen of every operation, for every target."""
    for operation in OPERATIONS:
        if only is None or only == operation:
            for specimen in import_module(f"semi_kernels.{operation}.launch").specimens():
                for target in targets:
                    yield compile_row(specimen, target)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m semi_kernels.compile_gate", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--only", choices=OPERATIONS, help="the kernels of one operation")
    parser.add_argument("--target", choices=TARGETS, action="append", help="may be given several times; all by default")
    chosen = parser.parse_args(arguments)
    if os.environ.get("TRITON_INTERPRET") == "1":
        parser.error("TRITON_INTERPRET=1 is set: kernels would be interpreted, not compiled; unset it")
    found = []
    for row in rows(chosen.only, tuple(chosen.target or TARGETS)):
        found.append(row)
        if not chosen.json:
            print(
                f"{'FAIL' if row.fault else 'ok':4} {row.target:7} {row.registers:3} registers {row.shared_bytes:6} "
                f"bytes shared  {row.kernel} {row.config}{': ' + row.fault if row.fault else ''}",
                flush=True,
            )
    if chosen.json:
        print(json.dumps({"rows": [asdict(row) for row in found]}, indent=1))
    faults = sum(row.fault is not None for row in found)
    print(f"{len(found)} compiled, {faults} at fault", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
