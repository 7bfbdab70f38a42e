"""What stands on the plugins' pages: 32 pairs of each data set and encoder, 64 held-out samples, one draw.

    python benchmarks/plugin_pages.py --out benchmarks/results/plugin-pages.json

As `semi adapt MODALITY --pairs DATA --encoder ENCODER --shots 32 --seed 0 --no-diagnose`, with `--steps 0` and without,
and then `semi eval ... --pairs DATA --limit 64`. What studies/goals.yaml measures is not measured again. A row that is
in the file already is kept; `--only no-step` does the quick half. No `semi study`, as that
encodes all samples of a data set first.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from semi.adaptation import adapt
from semi.artifacts import read_json, write_json
from semi.evaluation import evaluate
from semi.foundation import Foundation
from semi.pairs_io import draw_shots, read_pairs
from semi.plugins import load_modality

TARGETS = (
    ("imu", "imu", "statistics"),
    ("astro", "deep-sky", "morphology"),
    ("satellite", "land-cover", "efficientnet-lite0"),
    ("imu", "basic-motions", "riann"),
    ("image", "emoji", "efficientnet-lite0"),
    ("image", "emoji", "layout"),
    ("audio", "instruments", "whisper-base"),
    ("audio", "instruments", "statistics"),
    ("audio", "sound-effects", "whisper-base"),
    ("speech", "tuxpaint-speech", "whisper-base"),
    ("speech", "tuxpaint-speech", "whisper-base-quick"),
    ("speech", "tuxpaint-speech", "resemblyzer"),
    ("video", "moving-pictures", "efficientnet-lite0"),
    ("video", "moving-pictures", "motion"),
    ("video", "sprites", "efficientnet-lite0"),
    ("video", "sprites", "motion"),
    ("text", "wordnet", "minilm"),
    ("text", "wordnet", "ngrams"),
)
"""Modality, data set, encoder."""
STEPS = {"no-step": 0, "adapted": None}
SHOTS, HELD_OUT = 32, 64


def measure(foundation: Foundation, target: tuple[str, str, str], steps: int | None) -> dict[str, Any]:
    """One integration and its scores."""
    name, data, encoder = target
    modality = load_modality(name)
    begun = time.perf_counter()
    integration = adapt(foundation, modality, data, shots=SHOTS, seed=0, encoder=encoder, steps=steps, diagnose=False)
    seconds = time.perf_counter() - begun
    pairs = read_pairs(data, modality=modality, split="test").pairs
    scores = evaluate(integration, draw_shots(pairs, min(HELD_OUT, len(pairs)), 0))
    taken = integration.record.settings
    return {
        "n": scores.n,
        "loss": scores.loss,
        "loss_shuffled": scores.loss_shuffled,
        "rouge_l": scores.rouge_l,
        "attribute_accuracy": scores.attribute_accuracy,
        "steps": taken["steps"],
        "examples": taken["examples"],
        "recall": taken["recall"],
        "seconds": round(seconds, 1),
        "texts": scores.texts[:4],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--foundation", default="smollm2-135m")
    parser.add_argument("--only", choices=list(STEPS), nargs="+", default=list(STEPS))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    foundation = Foundation.load(options.foundation)
    found = read_json(options.out) if options.out.is_file() else {}
    rows = found["rows"] if found.get("foundation") == foundation.sha256 else {}  # others say nothing beside these
    for kind in options.only:
        for target in TARGETS:
            key = " ".join((*target, kind))
            if key not in rows:
                rows[key] = measure(foundation, target, STEPS[kind])
                write_json(options.out, {"foundation": foundation.sha256, "shots": SHOTS, "rows": rows})
                shown = {name: rows[key][name] for name in ("loss", "loss_shuffled", "attribute_accuracy", "seconds")}
                print(key, shown, flush=True)


if __name__ == "__main__":
    main()
