"""Writes src/semi_plugin_video/motion.json from the train splits (run after `semi fetch moving-pictures sprites`)."""

from __future__ import annotations

from pathlib import Path

from semi_plugin_image.shared import fit

from semi_plugin_video import motion
from semi_plugin_video.moving_pictures import MovingPictures
from semi_plugin_video.sprites import Sprites

TARGET = Path(__file__).parents[1] / "src" / "semi_plugin_video" / motion.CONSTANTS

if __name__ == "__main__":
    # As many of one as of the other; the first of "moving-pictures" are faces, so every third.
    samples = [pair.sample for pair in [*MovingPictures().pairs("train")[::3], *Sprites().pairs("train")]]
    about = f"train splits of moving-pictures (every third) and sprites ({len(samples)} clips)"
    fit(motion.statistics_of_clip, samples, about, TARGET)
