"""Writes src/semi_plugin_satellite/texture.json from the train split (run after `semi fetch land-cover`)."""

from __future__ import annotations

from pathlib import Path

from semi_plugin_image.shared import fit

from semi_plugin_satellite import texture
from semi_plugin_satellite.dataset import LandCover

TARGET = Path(__file__).parents[1] / "src" / "semi_plugin_satellite" / texture.CONSTANTS

if __name__ == "__main__":
    samples = [pair.sample for pair in LandCover().pairs("train")]
    about = f"train split of the data set land-cover ({len(samples)} tiles)"
    fit(texture.statistics_of_file, samples, about, TARGET)
