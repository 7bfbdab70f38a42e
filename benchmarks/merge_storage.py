"""What a merge takes on the disk, by method and by how its vector and masks are stored, against N full models.

    python -m benchmarks.merge_storage --scale 0.1 --out benchmarks/results/merge-storage.json

Base and fine-tunes are bfloat16, of SmolLM2-135M's shapes: `--scale` is the share of its layers and of its vocabulary,
so that bytes an entry hardly depend on it. Weights are random, changes Gaussian with 2 % of the rms of what they
change. A merge gives models back from its base, which is counted beside it; N full models need no base. `loss` is the
residual, the share of a change's square that does not come back, the worst model's: random changes are the hardest.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.llamas import SMOLLM2_135M, Llama, drawn, tuned, write_model
from benchmarks.processes import machine
from semi.artifacts import read_json, write_json
from semi.merge.artifact import Artifact
from semi.merge.checkpoint import Checkpoint
from semi.merge.config import MergeConfig
from semi.merge.methods import METHODS
from semi.merge.run import run_merge

TAUS = ("fp32", "bf16", "nf4")
BUDGETS = (0.25, 0.5)
PARTS = ("shared", "masks", "scales", "exact")


def variants() -> Iterator[dict[str, Any]]:
    """Settings of a merge: every method with every form of its vector, and masks within budgets."""
    for method in METHODS:
        for tau in TAUS:
            yield {"merge": {"method": method, "tau": tau}}
    for method in ("mmer", "optimal"):
        for bits in BUDGETS:
            for tau in ("fp32", "nf4"):
                yield {"merge": {"method": method, "tau": tau}, "mask": {"rule": "budget", "bits": bits}}


def stored(settings: Mapping[str, Any], base: Path, models: Sequence[Path], out: Path) -> dict[str, Any]:
    """A row: the settings, and the bytes of the merge and of its parts."""
    entries = [{"name": model.name, "path": str(model)} for model in models]
    config = MergeConfig.model_validate({"base_model": str(base), "models": entries, **settings})
    info = run_merge(config, out, force=out.exists())
    with Artifact.open(out) as artifact:
        parts = artifact.summary()["bytes"]
    losses = [figures["residual"] for figures in info["certificate"]["models"].values()]
    # json and configuration files are a few kB whatever the size
    merge = sum(parts.get(part, 0) for part in PARTS)
    full, of_base = sum(weights(model) for model in models), weights(base)
    return {
        "models": len(models),
        "method": config.merge.method,
        "tau": config.merge.tau,
        "bits": config.mask.bits,
        **{part: parts.get(part, 0) for part in PARTS},
        "merge": merge,
        "full": full,
        "share": round(merge / full, 4),
        "share_with_base": round((merge + of_base) / full, 4),
        "loss": round(max(losses), 4),
    }


def weights(folder: Path) -> int:
    """Bytes of a model's safetensors files."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def scaled(scale: float) -> Llama:
    """SmolLM2-135M with a share of its layers and tokens."""
    layers, vocabulary = (max(1, round(size * scale)) for size in (SMOLLM2_135M.layers, SMOLLM2_135M.vocabulary))
    return replace(SMOLLM2_135M, layers=layers, vocabulary=vocabulary)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: MB of each part, and shares of the N full models."""
    sizes = (*PARTS, "merge")
    head = ["N", "method", "vector", "masks", *(f"{part}, MB" for part in sizes), "of N", "with base", "loss"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        bits = "rule" if row["bits"] is None else f"{row['bits']:g} bits"
        masks = "-" if METHODS[row["method"]].mask is None else bits
        shares = [f"{row['share']:.0%}", f"{row['share_with_base']:.0%}", f"{row['loss']:.3f}"]
        settings = [str(row["models"]), row["method"], row["tau"], masks]
        lines.append([*settings, *(f"{row[part] / 1e6:.2f}" for part in sizes), *shares])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.1, help="share of layers and vocabulary, 0 to 1")
    parser.add_argument("--models", type=int, nargs="+", default=[2, 3, 4], help="how many fine-tunes")
    parser.add_argument("--out", type=Path, help="JSON; rows of an earlier run with the same scale are kept")
    parser.add_argument("--work", type=Path, help="folder for models and merges; a temporary one if not given")
    given = parser.parse_args(arguments)
    earlier = read_json(given.out) if given.out and given.out.exists() else {}
    rows = earlier["rows"] if earlier.get("scale") == given.scale else []
    known = [(row["models"], row["method"], row["tau"], row["bits"]) for row in rows]
    llama = scaled(given.scale)
    with tempfile.TemporaryDirectory(dir=given.work) as folder:
        base = write_model(Path(folder) / "base", llama, drawn(0), dtype="BF16")
        with Checkpoint.open(base) as checkpoint:
            models = [
                write_model(Path(folder) / f"model-{i}", llama, tuned(checkpoint, i), dtype="BF16")
                for i in range(1, max(given.models) + 1)
            ]
        for count in given.models:
            for settings in variants():
                bits = settings.get("mask", {}).get("bits")
                if (count, settings["merge"]["method"], settings["merge"]["tau"], bits) in known:
                    continue
                rows.append(stored(settings, base, models[:count], Path(folder) / "merged"))
                if given.out:
                    said = {"command": " ".join(sys.orig_argv[1:]), "scale": given.scale, "entries": llama.entries}
                    write_json(given.out, said | {"machine": machine(), "rows": rows})
    print(table(rows))


if __name__ == "__main__":
    main()
