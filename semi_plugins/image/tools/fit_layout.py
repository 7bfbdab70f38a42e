"""Writes src/semi_plugin_image/layout.json from the train splits (run after `semi fetch emoji tuxpaint`)."""

from __future__ import annotations

from pathlib import Path

from semi_plugin_image import layout
from semi_plugin_image.emoji import Emoji
from semi_plugin_image.shared import fit
from semi_plugin_image.tuxpaint import TuxPaint

TARGET = Path(__file__).parents[1] / "src" / "semi_plugin_image" / layout.CONSTANTS

if __name__ == "__main__":
    samples = [pair.sample for dataset in (Emoji(), TuxPaint()) for pair in dataset.pairs("train")]
    fit(layout.statistics_of_file, samples, f"train splits of emoji and tuxpaint ({len(samples)} pictures)", TARGET)
