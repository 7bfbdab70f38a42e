"""mergekit and `semi merge` side by side: the same TIES merge of four fine-tunes, in time, memory and result.

    python -m benchmarks.merge_race --mergekit /path/to/venv/bin/python --out benchmarks/results/merge-race.json

The base is SmolLM2-135M in fp32 (random weights where it is not in the cache), the fine-tunes are the base with seeded
Gaussian changes. Both tools trim each tensor to a fifth, elect signs and take the mean of those that agree. `mmer` is
the same vector with masks; semi writes the certificate with either. Contenders take turns, medians count; times are
those of whole commands, with files in the page cache. `--layers 2` is a small race.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.llamas import SMOLLM2_135M, drawn, same, tuned, write_model
from benchmarks.processes import Cost, machine, measured
from semi.artifacts import read_json, write_json
from semi.assets.cache import cache_dir
from semi.merge.checkpoint import Checkpoint
from semi.merge.trim import Magnitudes

MODELS = 4
SHARE = 0.2
SAME = {"tie": "plus", "trim": SHARE, "trim_scope": "tensor"}
"""mergekit's way to trim and to elect."""
RACERS: dict[str, dict[str, Any]] = {"ties": {"method": "ties"} | SAME, "mmer": {"method": "mmer"} | SAME}
OTHERS = ("task_arithmetic", "dare", "emr", "tall", "optimal", "ternary")
MERGEKIT = "mergekit ties"


class Race:
    """The models, and what each contender took.

    Args:
        folder: for models and results.
        layers: of each model.
        mergekit: its interpreter or its `mergekit-yaml`; None leaves it out.
    """

    def __init__(self, folder: Path, layers: int, mergekit: Path | None) -> None:
        self._folder, self._mergekit = folder, mergekit
        self._models = prepare(folder, layers)
        self._entries = replace(SMOLLM2_135M, layers=layers).entries

    def run(self, rounds: int, out: Path) -> dict[str, Any]:
        """All contenders in turn, then the other methods once; `out` has all that is known after each command."""
        read_all(self._models["base"].parent)
        found: dict[str, Any] = {
            "command": " ".join(sys.orig_argv[1:]),
            "machine": machine(),
            "mergekit": self._version(),
            "entries": self._entries,
            "models": MODELS,
            "base": "smollm2-135m" if real_base() else "random weights",
            "costs": {},
        }
        contenders = [
            *([MERGEKIT] if self._mergekit else []),
            *(f"semi {name}" for name in RACERS),
            "semi ties, export",
        ]
        for name in [name for _ in range(rounds) for name in contenders] + [f"semi {name}" for name in OTHERS]:
            cost, stored = self._once(name)
            own = found["costs"].setdefault(name, {"runs": [], "stored_mb": round(stored / 1e6, 1)})
            own["runs"].append(cost.row())
            own["median"] = _medians(own["runs"])
            print(name, cost.row(), flush=True)
            write_json(out, found)
        found["residuals"] = {name: self._residuals(f"semi {name}") for name in (*RACERS, *OTHERS)}
        if self._mergekit:
            found["agreement"] = agreement(self._models, self._result(MERGEKIT), self._result("semi ties, export"))
            found["goal"] = _goal(found["costs"])
        write_json(out, found)
        return found

    def _once(self, name: str) -> tuple[Cost, int]:
        result = self._result(name)
        shutil.rmtree(result, ignore_errors=True)
        cost = measured(self._command(name, result), self._folder / "last.log", {"HF_HUB_OFFLINE": "1"})
        return cost, sum(path.stat().st_size for path in result.rglob("*") if path.is_file())

    def _residuals(self, name: str) -> dict[str, float]:
        """Of each model, as the certificate has it."""
        certificate = read_json(self._result(name) / "manifest.json")["info"]["certificate"]
        return {model: own["residual"] for model, own in certificate["models"].items()}

    def _command(self, name: str, result: Path) -> list[str]:
        if name == MERGEKIT:
            return [*self._mergekit_yaml(), str(self._mergekit_settings()), str(result)]
        merge = [sys.executable, "-m", "semi.cli", "merge"]
        if name.endswith("export"):
            source = self._result("semi ties")
            return [*merge, "export", str(source), "--modality", "m0", "--out", str(result), "--quiet"]
        return [*merge, "run", str(self._settings(name.split()[1])), "--out", str(result), "--quiet"]

    def _result(self, name: str) -> Path:
        return self._folder / name.replace(", ", "-").replace(" ", "-")

    def _settings(self, method: str) -> Path:
        return write_settings(self._folder / f"{method}.yaml", self._models, RACERS.get(method, {"method": method}))

    def _mergekit_settings(self) -> Path:
        base, *models = (str(path) for path in self._models.values())
        parameters = {"weight": 1.0, "density": SHARE}
        settings = {
            "models": [{"model": base}, *({"model": model, "parameters": parameters} for model in models)],
            "merge_method": "ties",
            "base_model": base,
            "dtype": "float32",
        }
        path = self._folder / "mergekit.yaml"
        path.write_text(json.dumps(settings))  # which is YAML, too
        return path

    def _mergekit_yaml(self) -> list[str]:
        command = str(self._mergekit)
        is_python = Path(command).name.startswith("python")
        return [command, "-m", "mergekit.scripts.run_yaml"] if is_python else [command]

    def _version(self) -> str:
        if self._mergekit is None:
            return "left out: no --mergekit"
        folder = self._mergekit.parent.parent / "lib"
        found = sorted(folder.glob("python*/site-packages/mergekit-*.dist-info"))
        return found[0].name.removesuffix(".dist-info") if found else "unknown"


def prepare(folder: Path, layers: int, models: int = MODELS) -> dict[str, Path]:
    """The base and its fine-tunes in fp32, written where they are not there yet: folders by name, the base's first."""
    llama = replace(SMOLLM2_135M, layers=layers)
    paths = {name: folder / f"{layers}-layers" / name for name in ("base", *(f"m{i}" for i in range(models)))}
    original = real_base()
    if not (paths["base"] / "config.json").exists():
        if original is None:
            write_model(paths["base"], llama, drawn(seed=0))
        else:
            with Checkpoint.open(original) as opened:
                write_model(paths["base"], llama, same(opened))
    with Checkpoint.open(paths["base"]) as base:
        for seed, path in enumerate(list(paths.values())[1:]):
            if not (path / "config.json").exists():
                write_model(path, llama, tuned(base, seed))
    return paths


def real_base() -> Path | None:
    """SmolLM2-135M in semi's cache, if any command has loaded it."""
    return next(cache_dir().glob("language-models/smollm2-135m-*"), None)


def write_settings(path: Path, models: Mapping[str, Path], merge: Mapping[str, Any], **more: Any) -> Path:
    """The configuration of a merge, as JSON, which is YAML, too."""
    base, *tunes = models.items()
    entries = [{"name": name, "path": str(folder)} for name, folder in tunes]
    path.write_text(json.dumps({"base_model": str(base[1]), "models": entries, "merge": dict(merge)} | more))
    return path


def read_all(folder: Path) -> None:
    """Into the page cache, so that nobody is the first to read."""
    for path in folder.rglob("*.safetensors"):
        with open(path, "rb") as file:
            hashlib.file_digest(file, "md5")


def agreement(models: Mapping[str, Path], theirs: Path, ours: Path) -> dict[str, int]:
    """Entries of all matrices that differ between two merged models.

    Returns:
        "entries"; "not_equal": in any bit; "different": by more than the rounding of a sum of a few; "unexplained": of
        these, where no model's change equals its threshold, so that the choice of what to keep was not free.
    """
    found = dict.fromkeys(("entries", "not_equal", "different", "unexplained"), 0)
    base, *tunes = (Checkpoint.open(path) for path in models.values())
    one, other = Checkpoint.open(theirs), Checkpoint.open(ours)
    for key in base.keys:
        if len(base.info(key).shape) < 2:
            continue  # semi keeps norms of each model as they are
        a, b = one.read(key), other.read(key)
        different = ~torch.isclose(a, b, rtol=1e-6, atol=1e-8)
        found["entries"] += a.numel()
        found["not_equal"] += int((a != b).sum())
        if count := int(different.sum()):
            found["different"] += count
            found["unexplained"] += int((different & ~_tied(base, tunes, key)).sum())
    for opened in (base, *tunes, one, other):
        opened.close()
    return found


def _tied(base: Checkpoint, tunes: list[Checkpoint], key: str) -> torch.Tensor:
    """Where a model's change equals its threshold, bool."""
    tied = torch.zeros(base.read(key).shape, dtype=torch.bool)
    for tune in tunes:
        change = tune.read(key) - base.read(key)
        magnitudes = Magnitudes(SHARE)
        magnitudes.count(change)
        magnitudes.refine(change)
        tied |= change.abs() == magnitudes.threshold().magnitude
    return tied


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def _goal(costs: Mapping[str, Any]) -> dict[str, Any]:
    """Of the merge with masks and certificate."""
    ours, theirs = costs["semi mmer"], costs[MERGEKIT]
    share = ours["median"]["seconds"] / theirs["median"]["seconds"]
    largest = max(run["anonymous_mb"] for run in ours["runs"])
    return {
        "share_of_time": round(share, 3),
        "share_of_cpu": round(ours["median"]["cpu"] / theirs["median"]["cpu"], 3),
        "anonymous_mb": largest,
        "reached": share <= 0.25 and largest <= 512,
    }


def table(found: Mapping[str, Any]) -> str:
    """Markdown."""
    lines = ["| | seconds | CPU seconds | anonymous MB | on disk MB |", "|---|---|---|---|---|"]
    for name, own in found["costs"].items():
        row = own["median"]
        lines.append(f"| {name} | {row['seconds']} | {row['cpu']} | {row['anonymous_mb']} | {own['stored_mb']} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mergekit", type=Path, help="its python, or its mergekit-yaml; without it only semi runs")
    parser.add_argument("--layers", type=int, default=SMOLLM2_135M.layers)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("runs/merge-race"), help="for models and results")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    mergekit = options.mergekit
    if mergekit is not None and not mergekit.exists():
        print(f"there is no {mergekit}: mergekit is left out")
        mergekit = None
    found = Race(options.folder, options.layers, mergekit).run(options.rounds, options.out)
    print(table(found))
    print(json.dumps({name: found[name] for name in ("agreement", "goal") if name in found}))


if __name__ == "__main__":
    main()
