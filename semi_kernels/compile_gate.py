"""Compile what every launcher launches, for GPUs that need not be there, and refuse spills.

    python -m semi_kernels.compile_gate [--json] [--target TARGET] [NAME ...]

NAME: an operation, or a module that has `specimens()`; all operations by default. Exit status 1 if a kernel spills
registers, wants more shared memory than its target has, or multiplies float32 in TF32.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from semi_kernels import configurations, dispatch
from semi_kernels.configurations import H200, KIB, Gpu

OPERATIONS = ("fused_lora", "dequantise", "masked_linear", "grouped", "isometry")
"""Each has `specimens.specimens()`."""


@dataclass(frozen=True)
class Target:
    """A GPU architecture, as Triton knows it, and the GPU whose configurations are compiled for it."""

    arch: int | str
    warp: int
    gpu: Gpu


TARGETS = {
    "sm_80": Target(80, 32, Gpu("NVIDIA A100-SXM4-80GB", (8, 0), 108, 163 * KIB)),
    "sm_90": Target(90, 32, H200),
    "sm_100": Target(100, 32, Gpu("NVIDIA B200", (10, 0), 148, 227 * KIB)),
    "gfx942": Target("gfx942", 64, Gpu("AMD Instinct MI300X", (9, 4), 304, 64 * KIB, "hip")),
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


@dataclass(frozen=True)
class Launch:
    """A launch that was asked for: a `triton.jit` function, its grid, its arguments and options."""

    label: str
    kernel: Any
    grid: tuple[int, ...]
    arguments: tuple[Any, ...]
    options: dict[str, Any]


class _Driver:
    """What Triton asks of a GPU's driver before it compiles."""

    def __init__(self, name: str) -> None:
        from triton.backends.compiler import GPUTarget

        self.device = list(TARGETS).index(name)  # Triton keeps what it compiled by device
        self.target = GPUTarget(TARGETS[name].gpu.backend, TARGETS[name].arch, TARGETS[name].warp)

    def get_current_device(self) -> int:
        return self.device

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        return self.target


@cache
def launches(module: str, target: str) -> tuple[Launch, ...]:
    """What the specimens of a module launch on a target, each once."""
    from triton.runtime.jit import JITFunction

    found: dict[Any, Launch] = {}
    label = ""

    def record(kernel: Any, *arguments: Any, grid: tuple[int, ...], warmup: bool, **options: Any) -> None:
        shapes = [
            (a.shape, a.stride(), a.dtype, a.data_ptr() % 16) if hasattr(a, "stride") else (type(a), a)
            for a in arguments
        ]
        found.setdefault((kernel, *shapes, *sorted(options.items())), Launch(label, kernel, grid, arguments, options))

    with configurations.standing_in(TARGETS[target].gpu), patch.object(JITFunction, "run", record):
        for specimen in import_module(module).specimens():
            label = specimen.label
            specimen.launch()
    return tuple(found.values())


def compile_row(launch: Launch, name: str) -> Row:
    """Compile a launch for the target called `name`, by Triton's own rules, and read its resources."""
    from triton.runtime import driver

    driver.set_active(_Driver(name))
    target, kernel = TARGETS[name].gpu, launch.kernel.__name__.lstrip("_")
    try:
        compiled = launch.kernel.run(*launch.arguments, grid=launch.grid, warmup=True, **launch.options)
    except Exception as error:  # the compilers' own: they share no type
        return Row(kernel, launch.label, name, 0, 0, 0, f"does not compile: {type(error).__name__}: {error}")
    if target.backend == "cuda":
        registers, spilled = _cuda_resources(compiled.asm["cubin"])
        tf32 = "tf32" in compiled.asm["ptx"]
    else:
        registers, spilled = _amd_resources(compiled.asm["amdgcn"])
        tf32 = "xf32" in compiled.asm["amdgcn"]
    shared = int(compiled.metadata.shared)
    faults = [f"spills {spilled} bytes a thread"] * (spilled > 0)
    faults += [f"wants {shared} bytes of shared memory of {target.shared}"] * (shared > target.shared)
    faults += ["multiplies float32 in TF32"] * tf32
    return Row(kernel, launch.label, name, registers, spilled, shared, "; ".join(faults) or None)


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


def _row(task: tuple[str, str, int]) -> Row:
    module, target, index = task
    return compile_row(launches(module, target)[index], target)


def rows(names: Sequence[str] = OPERATIONS, targets: Sequence[str] = tuple(TARGETS), jobs: int = 1) -> Iterator[Row]:
    """Every launch of every specimen, for every target, compiled by `jobs` processes."""
    modules = [f"semi_kernels.{name}.specimens" if name in OPERATIONS else name for name in names]
    tasks = [(m, t, i) for m in modules for t in targets for i in range(len(launches(m, t)))]
    if jobs == 1:
        yield from map(_row, tasks)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_row, tasks)


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m semi_kernels.compile_gate", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help=f"{', '.join(OPERATIONS)}, or modules that have specimens()")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--quiet", action="store_true", help="print only what is at fault")
    parser.add_argument("--target", choices=TARGETS, action="append", help="may be given several times; all by default")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes; all processors by default")
    chosen = parser.parse_args(arguments)
    if os.environ.get("TRITON_INTERPRET") == "1":
        parser.error("TRITON_INTERPRET=1 is set: kernels would be interpreted, not compiled; unset it")
    if not dispatch.has_triton():
        print("compile gate: skipped, triton is not installed (there is none for macOS and Windows)", file=sys.stderr)
        return 0
    found = []
    for row in rows(chosen.names or OPERATIONS, chosen.target or tuple(TARGETS), chosen.jobs):
        found.append(row)
        if not chosen.json and (row.fault or not chosen.quiet):
            print(
                f"{'FAIL' if row.fault else 'ok':4} {row.target:7} {row.registers:3} registers {row.shared_bytes:6} "
                f"bytes shared  {row.kernel} {row.config}{': ' + row.fault if row.fault else ''}",
                flush=True,
            )
    if chosen.json:
        print(json.dumps({"rows": [asdict(row) for row in found]}, indent=1))
    faults = sum(row.fault is not None for row in found)
    print(f"compile gate: {len(found)} kernels compiled for {', '.join(chosen.target or TARGETS)}, {faults} at fault",
          file=sys.stderr)  # fmt: skip
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
