"""Writes src/semi_plugin_astro/morphology.json from the train split (run after `semi fetch deep-sky`)."""

from __future__ import annotations

from pathlib import Path

from semi_plugin_image.shared import fit

from semi_plugin_astro import morphology
from semi_plugin_astro.dataset import DeepSky

TARGET = Path(__file__).parents[1] / "src" / "semi_plugin_astro" / morphology.CONSTANTS

if __name__ == "__main__":
    samples = [pair.sample for pair in DeepSky().pairs("train")]
    about = f"train split of the data set deep-sky ({len(samples)} photographs)"
    fit(morphology.statistics_of_file, samples, about, TARGET, least=1e-4)
