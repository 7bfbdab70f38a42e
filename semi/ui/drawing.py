"""Maps and curves as SVG: no scripts, the colours of the page, readable on a phone, every mark named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import log2

WIDTH, HEIGHT = 480, 320
LEFT, BOTTOM, TOP, MARGIN = 48, 44, 30, 16
GOLDEN = 137.5
"""Degrees from one colour to the next: neighbours differ, however many there are."""
TICKS = 4
_At = Callable[[float, float], tuple[float, float]]
"""From values to where they are drawn."""


@dataclass(frozen=True)
class Point:
    """A mean over seeds, and its standard error where there is one."""

    x: float
    y: float
    error: float | None = None


def scatter(places: Sequence[Sequence[float]], labels: Sequence[str], title: str) -> str:
    """Points (x, y) with the number of their label, and a list of what the numbers stand for.

    Axes have no scale: of a map only what lies near what means anything.
    """
    names = list(dict.fromkeys(labels))
    xs, ys = (_spread(values) for values in zip(*places, strict=True))
    marks = []
    for x, y, label in zip(xs, ys, labels, strict=True):
        number = names.index(label)
        px, py = MARGIN + x * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - y * (HEIGHT - 2 * MARGIN)
        marks.append(
            f'<g><title>{escape(label)}</title><circle cx="{px:.1f}" cy="{py:.1f}" r="11" fill="{_colour(number)}"/>'
            f'<text x="{px:.1f}" y="{py + 4:.1f}" text-anchor="middle" class="semi-number">{number + 1}</text></g>'
        )
    return _figure(title, marks, _legend(names))


def curves(series: Mapping[str, Sequence[Point]], *, x: str, y: str, title: str) -> str:
    """Curves over powers of two, with a band of one standard error to either side."""
    points = [point for each in series.values() for point in each]
    if not points:
        return ""
    low, high = (f(p.y + sign * (p.error or 0) for p in points) for f, sign in ((min, -1), (max, 1)))
    first, last = (f(log2(p.x) for p in points) for f in (min, max))
    high, last = (end if end > begin else begin + 1 for begin, end in ((low, high), (first, last)))

    def at(px: float, py: float) -> tuple[float, float]:
        across, up = (log2(px) - first) / (last - first), (py - low) / (high - low)
        return LEFT + across * (WIDTH - LEFT - MARGIN), TOP + (1 - up) * (HEIGHT - TOP - BOTTOM)

    marks = [*_axes(at, low, high, sorted({point.x for point in points}), x, y)]
    for number, (name, each) in enumerate(series.items()):
        marks += _curve(at, name, sorted(each, key=lambda point: point.x), _colour(number))
    return _figure(title, marks, _legend(list(series)))


def _axes(at: _At, low: float, high: float, stops: Sequence[float], x: str, y: str) -> Iterator[str]:
    for tick in range(TICKS + 1):
        value = low + (high - low) * tick / TICKS
        _, py = at(stops[0], value)
        yield f'<line x1="{LEFT}" x2="{WIDTH - MARGIN}" y1="{py:.1f}" y2="{py:.1f}" class="semi-grid"/>'
        yield f'<text x="{LEFT - 6}" y="{py + 4:.1f}" text-anchor="end">{value:.2f}</text>'
    for stop in stops:
        px, _ = at(stop, low)
        yield f'<text x="{px:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{stop:g}</text>'
    yield f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x)}</text>'
    yield f'<text x="{MARGIN}" y="18">{escape(y)}</text>'


def _curve(at: _At, name: str, points: Sequence[Point], colour: str) -> Iterator[str]:
    edges = [(p.x, p.y + (p.error or 0)) for p in points] + [(p.x, p.y - (p.error or 0)) for p in reversed(points)]
    yield f'<polygon points="{_path(at, edges)}" fill="{colour}" opacity="0.2"/>'
    line = _path(at, [(p.x, p.y) for p in points])
    yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for point in points:
        px, py = at(point.x, point.y)
        said = f"{name}, {point.x:g}: {point.y:.3f}" + (f" ± {point.error:.3f}" if point.error is not None else "")
        yield f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4" fill="{colour}"><title>{escape(said)}</title></circle>'


def _path(at: _At, points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{px:.1f},{py:.1f}" for px, py in (at(*point) for point in points))


def _figure(title: str, marks: Sequence[str], legend: str) -> str:
    said = escape(title)
    drawn = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{said}">{"".join(marks)}</svg>'
    return f'<figure class="semi-figure"><figcaption>{said}</figcaption>{drawn}{legend}</figure>'


def _legend(names: Sequence[str]) -> str:
    entries = "".join(
        f'<li><span class="semi-key" style="background: {_colour(number)}">{number + 1}</span>{escape(name)}</li>'
        for number, name in enumerate(names)
    )
    return f"<details open><summary>{len(names)} names</summary><ul>{entries}</ul></details>"


def _colour(number: int) -> str:
    """Dark enough for white numbers, light enough for a dark page."""
    return f"hsl({(150 + GOLDEN * number) % 360:.0f} 60% 38%)"


def _spread(values: Sequence[float]) -> list[float]:
    """From 0 to 1; in the middle where all are the same."""
    low, high = min(values), max(values)
    return [(value - low) / (high - low) if high > low else 0.5 for value in values]
