"""What an adaptation costs: numbers and bytes on disk, seconds and peak memory of whole commands.

    python benchmarks/cost.py --out benchmarks/results/cost.json

Every command runs in a process of its own, as a user would run it; its time includes loading the language model.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from semi.artifacts import load_tensors, write_json

SEMI = [sys.executable, "-m", "semi.cli"]


def measured(*arguments: str) -> dict[str, float]:
    """Seconds and peak resident memory of a command."""
    begun = time.perf_counter()
    process = subprocess.Popen([*SEMI, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(arguments)} failed")
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if platform.system() == "Darwin" else 1024
    return {"seconds": round(time.perf_counter() - begun, 1), "peak_mb": round(usage.ru_maxrss * unit / 1e6)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shots", type=int, default=32)
    options = parser.parse_args()
    from semi.pairs_io import read_pairs
    from semi.plugins import load_modality

    samples = [str(p.sample) for p in read_pairs("molecules:test", modality=load_modality("molecules")).pairs[:32]]
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "molecules")
        command = ("adapt", "molecules", "--pairs", "molecules", "--shots", str(options.shots), "--out", out)
        result: dict[str, object] = {"shots": options.shots, "adapt": measured(*command)}
        result["adapt, no diagnosis"] = measured(*command, "--no-diagnose", "--force")
        result["adapt, no step"] = measured(*command, "--no-diagnose", "--steps", "0", "--force")
        result["describe 1"] = measured("describe", out, samples[0])
        result["describe 32"] = measured("describe", out, *samples)
        tensors = load_tensors(Path(out) / "integration.safetensors")
        groups: dict[str, list[int]] = {}
        for name, tensor in tensors.items():
            entry = groups.setdefault(name.split(".")[0], [0, 0])
            entry[0] += tensor.numel()
            entry[1] += tensor.numel() * tensor.element_size()
        result["stored"] = {name: {"numbers": n, "bytes": size} for name, (n, size) in sorted(groups.items())}
        result["integration bytes"] = sum(f.stat().st_size for f in Path(out).iterdir())
    result["machine"] = {"cpus": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(options.out, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
