"""A sound as a picture."""

from __future__ import annotations

import numpy as np

from semi_plugin_speech.sound import Sound

WIDTH, HEIGHT = 240, 60


def as_svg(sound: Sound) -> str:
    """How loud it is over time, as SVG: in each of 240 columns from the lowest to the highest value."""
    columns = np.array_split(sound.signal, min(WIDTH, len(sound.signal)))
    lows, highs = (np.array([pick(column) for column in columns]) for pick in (np.min, np.max))
    scale = (HEIGHT / 2 - 2) / max(float(np.abs(sound.signal).max()), 1e-6)
    x = np.linspace(0, WIDTH, len(columns))
    upper = [f"{a:.1f},{HEIGHT / 2 - scale * b:.1f}" for a, b in zip(x, highs, strict=True)]
    lower = [f"{a:.1f},{HEIGHT / 2 - scale * b + 0.5:.1f}" for a, b in zip(x[::-1], lows[::-1], strict=True)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT + 12}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT + 12}" font-family="sans-serif" font-size="9">'
        f'<rect width="{WIDTH}" height="{HEIGHT + 12}" fill="#fff"/>'
        f'<polygon fill="#2c6fbb" points="{" ".join(upper + lower)}"/>'
        f'<text x="{WIDTH - 2}" y="{HEIGHT + 9}" text-anchor="end">{sound.seconds:.3g} s</text></svg>'
    )
