"""The memory of `semi merge run` on models of Llama 7B's shapes: the same however many layers they have.

    python -m benchmarks.merge_memory --layers 2 8 32 --out benchmarks/results/merge-memory.json

For each number of layers, a base of random numbers is written in shards, in bf16, with LoRA adapters of rank 16 for all
its matrices (or with `--full`, models as large as the base); they are merged by `mmer`, and removed again. The disk is
looked at first. 32 layers with two adapters: 6.7 G entries, a base of 13.5 GB and a result of 12 GB.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.llamas import LLAMA_7B, Llama, drawn, tuned, write_adapter, write_model
from benchmarks.processes import machine, measured
from semi.artifacts import read_json, write_json
from semi.errors import OutputError
from semi.merge.checkpoint import Checkpoint
from semi.merge.config import MergeConfig
from semi.merge.plan import make_plan, require_disk

SHARD = 2 * 10**9


def prepare(folder: Path, llama: Llama, models: int, *, full: bool) -> dict[str, Any]:
    """Write base and models; the settings of their merge but for the method.

    Raises:
        OutputError: the disk is too small for them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    require_disk(2 * llama.entries * (1 + models * full) + 2**30, folder)
    base = write_model(folder / "base", llama, drawn(seed=0), dtype="BF16", shard=SHARD)
    entries = []
    for seed in range(1, models + 1):
        path = folder / f"model-{seed}"
        if full:
            with Checkpoint.open(base) as opened:
                write_model(path, llama, tuned(opened, seed), dtype="BF16", shard=SHARD)
        else:
            write_adapter(path, llama, seed)
        entries.append({"name": path.name, "path": str(path), "adapter": "none" if full else "lora"})
    return {"base_model": str(base), "models": entries}


def measure(folder: Path, llama: Llama, options: argparse.Namespace) -> dict[str, Any]:
    """What one merge takes, and what the plan says that it takes."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        settings = prepare(folder, llama, options.models, full=options.full)
        settings |= {"merge": {"method": options.method, "tau": options.tau}}
        out, file = folder / "result.mmer", folder / "merge.yaml"
        file.write_text(json.dumps(settings))  # which is YAML, too
        plan = make_plan(MergeConfig.model_validate(settings), out)
        require_disk(plan["disk"]["needed"], folder.parent)
        command = [sys.executable, "-m", "semi.cli", "merge", "run", str(file), "--out", str(out), "--quiet"]
        cost = measured(command, folder / "log")
        info = read_json(out / "manifest.json")["info"]
        return {
            "layers": llama.layers,
            "entries": llama.entries,
            **cost.row(),
            "planned_mb": round(plan["memory"]["needed"] / 1e6),
            "read_gb": round(plan["read"] / 1e9, 2),
            "written_gb": round(sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e9, 2),
            "residuals": {name: own["residual"] for name, own in info["certificate"]["models"].items()},
            "trace_mb": [[at, round(size / 1e6)] for at, size in cost.trace],
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| layers | entries | anonymous MB | planned MB | seconds | written GB |", "|---|---|---|---|---|---|"]
    for row in rows:
        figures = (row["anonymous_mb"], row["planned_mb"], row["seconds"], row["written_gb"])
        lines.append(f"| {row['layers']} | {row['entries']:,} | {' | '.join(map(str, figures))} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 8, 32], help="of one merge each")
    parser.add_argument("--scale", type=int, default=1, help="divides the widths, for a small test")
    parser.add_argument("--models", type=int, default=2)
    parser.add_argument("--full", action="store_true", help="whole models in place of adapters")
    parser.add_argument("--method", default="mmer")
    parser.add_argument("--tau", default="fp32", help="how the shared vector is stored")
    parser.add_argument("--folder", type=Path, default=Path("runs/merge-memory"), help="a new one, removed at the end")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    llama = LLAMA_7B.divided(options.scale)
    found: dict[str, Any] = {
        "command": " ".join(sys.orig_argv[1:]),
        "machine": machine(),
        "models": options.models,
        "kind": "whole models" if options.full else "LoRA adapters of rank 16",
        "rows": [],
    }
    try:
        for layers in options.layers:
            found["rows"].append(measure(options.folder, replace(llama, layers=layers), options))
            print({name: value for name, value in found["rows"][-1].items() if name != "trace_mb"}, flush=True)
            write_json(options.out, found)
    except OutputError as error:
        print(f"error: {error}")
        return 1
    print(table(found["rows"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
