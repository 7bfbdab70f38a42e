"""Writes src/semi_plugin_satellite/texture.json from the train split (run after `semi fetch land-cover`).

Constants are fitted once and shipped, because an encoder must not depend on the data it is given. A new file means a
new version in `Texture.id`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from semi_plugin_satellite import texture
from semi_plugin_satellite.dataset import LandCover
from semi_plugin_satellite.pictures import as_pixels

TARGET = Path(__file__).parents[1] / "src" / "semi_plugin_satellite" / texture.CONSTANTS


def main() -> None:
    """Fit and write."""
    pairs = LandCover().pairs("train")
    values = np.stack([texture.statistics(as_pixels(pair.sample, texture.SIDE)) for pair in pairs])
    about = f"train split of the data set land-cover ({len(pairs)} tiles)"
    constants = {"centre": values.mean(0), "deviation": np.maximum(values.std(0), 1e-2)}
    rounded = {name: [float(f"{number:.6g}") for number in row] for name, row in constants.items()}
    TARGET.write_text(json.dumps({"about": about} | rounded, indent=0) + "\n", "utf-8")


if __name__ == "__main__":
    main()
