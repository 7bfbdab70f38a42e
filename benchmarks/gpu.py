"""The whole evidence about the kernels on a GPU, in one command of under ten minutes.

    python3 benchmarks/gpu.py                      # on a machine with a GPU
    python3 benchmarks/gpu.py --device cpu --tiny  # the same code with tiny shapes: proof that it runs, no evidence

Every stage writes its results as it goes; started again, the command goes on where it stopped. The folder is
benchmarks/results/gpu-<name>-<revision>/, one file a stage. Exit code 1 if a result is wrong, 3 if time ran out.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # a plain checkout is enough
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch  # noqa: E402  # after the path and the environment
from gpu_stages import correctness, determinism, grid, language_model, training  # noqa: E402
from gpu_stages.context import Context, OutOfTime  # noqa: E402

from semi_kernels.bench import report  # noqa: E402
from semi_kernels.bench.tune import slug  # noqa: E402

Stage = Callable[[Context, dict[str, Any]], None]
STAGES: dict[str, tuple[Stage, float]] = {
    "correctness": (correctness.run, 0.30),
    "determinism": (determinism.run, 0.08),
    "grid": (grid.run, 0.60),
    "language_model": (language_model.run, 0.60),
    "training": (training.run, 1.0),
}
"""In order of importance, each with the largest part of the time left that it may take at first."""


def main() -> int:
    options = _options()
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cpu" and not options.tiny:
        print("error: there is no GPU; `--device cpu --tiny` runs the same code on a CPU with tiny shapes")
        return 2
    name = slug(torch.cuda.get_device_name(device)) if device.type == "cuda" else "none"
    revision = options.revision or report.revision() or "unknown"
    folder = options.out or ROOT / "benchmarks" / "results" / f"gpu-{name}-{revision}"
    context = Context(device, options.tiny, folder, time.monotonic() + 60 * options.minutes, options.model)
    report.write_json(folder / "environment.json", {**report.environment(device), "revision": revision})
    chosen = [stage for stage in STAGES if not options.stages or stage in options.stages]
    for share in (True, False):  # what was cut short in the first round gets the rest in the second
        for stage in chosen:
            _do(context, stage, share=STAGES[stage][1] if share else 1.0)
    return _summary(context, chosen)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", help="cuda or cpu; cuda where there is one if not given")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes: proves that it runs, measures nothing")
    parser.add_argument("--minutes", type=float, default=9, help="stop cleanly after so long; a rerun goes on")
    parser.add_argument("--out", type=Path, help="the folder of results")
    parser.add_argument("--model", help="folder of a language model; random weights of a Llama's shape if not given")
    parser.add_argument("--revision", help="recorded where the checkout has no .git")
    parser.add_argument("--stages", nargs="*", choices=list(STAGES), help="only these")
    return parser.parse_args()


def _do(context: Context, stage: str, *, share: float) -> None:
    """One stage, from where its file says it stopped; whatever breaks it is recorded and the next one goes on."""
    state = context.load(stage)
    if state.get("complete") or context.left() <= 0:
        return
    context.limit = time.monotonic() + share * context.left()
    begun, error = time.monotonic(), None
    try:
        STAGES[stage][0](context, state)
        state["complete"] = True
    except OutOfTime:
        pass
    except Exception as problem:
        traceback.print_exc()
        error = f"{type(problem).__name__}: {str(problem).splitlines()[0] if str(problem) else ''}"
    state["error"] = error
    state["seconds"] = round(state.get("seconds", 0.0) + time.monotonic() - begun, 1)
    context.save(stage, state)
    done = "complete" if state.get("complete") else f"broke: {error}" if error else "out of time, a rerun goes on"
    print(f"{stage}: {done}, {state['seconds']:.0f} s", flush=True)


def _summary(context: Context, chosen: list[str]) -> int:
    states = {stage: context.load(stage) for stage in chosen}
    for stage, state in states.items():
        for line in state.get("summary", []):
            print(f"{stage}: {line}")
    print(f"results: {context.folder}")
    if any(state.get("wrong") or state.get("error") for state in states.values()):
        return 1
    return 0 if all(state.get("complete") for state in states.values()) else 3


if __name__ == "__main__":
    sys.exit(main())
