"""A recording as a picture."""

from __future__ import annotations

import numpy as np

from semi_plugin_imu.recording import Recording

WIDTH, PANEL, LEFT = 240, 80, 2
COLOURS = ("#c0392b", "#27874a", "#2c6fbb")  # x, y, z
UNITS = {"acceleration": "m/s²", "gyroscope": "rad/s"}
POINTS = 200
"""More than a line of 240 pixels can show."""


def as_svg(recording: Recording) -> str:
    """One panel for each quantity that was measured, lines for x (red), y (green) and z (blue)."""
    panels = "".join(
        _panel(values, top * PANEL, f"{name}, {UNITS[name]}")
        for top, (name, values) in enumerate(recording.present.items())
    )
    height = PANEL * len(recording.present) + 12
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="9"><rect width="{WIDTH}" height="{height}" fill="#fff"/>{panels}'
        f'<text x="{WIDTH - LEFT}" y="{height - 3}" text-anchor="end">{recording.seconds:.3g} s</text></svg>'
    )


def _panel(values: np.ndarray, top: int, title: str) -> str:
    low, high = float(values.min()), float(values.max())
    shown = values[np.linspace(0, len(values) - 1, min(POINTS, len(values))).astype(int)]
    x = np.linspace(LEFT, WIDTH - LEFT, len(shown))
    y = top + PANEL - 4 - (shown - low) / max(high - low, 1e-6) * (PANEL - 18)
    lines = "".join(
        f'<polyline fill="none" stroke="{colour}" points="'
        + " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, column, strict=True))
        + '"/>'
        for colour, column in zip(COLOURS, y.T, strict=True)
    )
    return f'{lines}<text x="{LEFT}" y="{top + 9}">{title} ({low:.3g} to {high:.3g})</text>'
