"""Writes src/semi_plugin_astro/morphology.json from the train split (run after `semi fetch deep-sky`).

Constants are fitted once and shipped, because an encoder must not depend on the data it is given. A new file means a
new version in `Morphology.id`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from semi_plugin_astro import morphology
from semi_plugin_astro.dataset import DeepSky
from semi_plugin_astro.photographs import as_pixels

TARGET = Path(__file__).parents[1] / "src" / "semi_plugin_astro" / morphology.CONSTANTS


def main() -> None:
    """Fit and write."""
    pairs = DeepSky().pairs("train")
    values = np.stack([morphology.statistics(as_pixels(pair.sample, morphology.SIDE)) for pair in pairs])
    about = f"train split of the data set deep-sky ({len(pairs)} photographs)"
    constants = {"centre": values.mean(0), "deviation": np.maximum(values.std(0), 1e-4)}
    rounded = {name: [float(f"{number:.6g}") for number in row] for name, row in constants.items()}
    TARGET.write_text(json.dumps({"about": about} | rounded, indent=0) + "\n", "utf-8")


if __name__ == "__main__":
    main()
