"""A self-contained HTML report of a demonstration: no scripts, no links, pictures inline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from semi.demo import Demonstration

EXAMPLES = 12
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
table { border-collapse: collapse; width: 100% } td, th { padding: .4rem .6rem; border-bottom: 1px solid #ddd }
th { text-align: left } td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
tr.best { background: #eef7ee; font-weight: 600 }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem }
.card { border: 1px solid #ddd; border-radius: .5rem; padding: .8rem; overflow: hidden }
.card svg, .card img { width: 100%; height: 11rem; object-fit: contain } .card code { overflow-wrap: anywhere }
.true { color: #666 } .said { font-weight: 600 } figure { margin: 0 } figcaption { color: #666 }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd } td, th, .card { border-color: #444 }
  tr.best { background: #1d3320 } .card svg, .card img { background: #fff } .true, figcaption { color: #aaa } }
"""
_COLOURS = ("#2a7f3f", "#c0504d", "#4472c4", "#8064a2")


def render(demo: Demonstration) -> str:
    """The report as one HTML document."""
    title = f"{demo.modality.name} from {demo.shots} pairs"
    body = [
        f"<h1>A frozen language model learns {escape(title)}</h1>",
        f"<p>{escape(_summary(demo))}</p>",
        "<h2>Held-out samples</h2>",
        _table(demo),
        "<h2>Learning curve</h2>",
        _figure(demo),
        f"<h2>What it says of samples it has not seen</h2><div class=cards>{_cards(demo)}</div>",
        "<h2>The pairs it learned from</h2>",
        "<ul>" + "".join(f"<li><code>{_e(p.sample)}</code> {_e(p.caption)}</li>" for p in demo.support) + "</ul>",
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return (
        f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{"".join(body)}</body></html>'
    )


def line_chart(curves: Mapping[str, Sequence[float]], marks: Mapping[str, float], *, x: str, y: str) -> str:
    """Curves over step 1, 2, ... as an SVG; a mark is a dot behind the end of the curve of the same name."""
    width, height, left, bottom, head = 720, 340, 52, 52, 34
    values = [v for curve in curves.values() for v in curve] + list(marks.values())
    top, longest = max(values) * 1.05, max(len(curve) for curve in curves.values())

    def at(step: float, value: float) -> tuple[float, float]:
        return left + (width - left - 30) * step / longest, head + (height - head - bottom) * (1 - value / top)

    parts = []
    for i in range(5):
        px, py = at(0, top * i / 4)
        parts.append(f'<line x1="{px}" x2="{width - 30}" y1="{py:.1f}" y2="{py:.1f}" stroke="#8884"/>')
        parts.append(f'<text x="{left - 8}" y="{py + 4:.1f}" text-anchor="end">{top * i / 4:.1f}</text>')
    for step in sorted({round(longest * i / 4) for i in range(5)}):
        px, py = at(step, 0)
        parts.append(f'<text x="{px:.1f}" y="{py + 18:.1f}" text-anchor="middle">{step}</text>')
    for number, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join("{:.1f},{:.1f}".format(*at(i + 1, v)) for i, v in enumerate(curve))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if name in marks:
            px, py = at(len(curve), marks[name])
            parts.append(f'<circle cx="{px + 8:.1f}" cy="{py:.1f}" r="5" fill="{colour}"/>')
        parts.append(f'<text x="{left + 12 + 220 * number}" y="16" fill="{colour}">{escape(name)}</text>')
    parts.append(f'<text x="{(width + left) / 2}" y="{height - 8}" text-anchor="middle">{escape(x)}</text>')
    parts.append(
        f'<text x="14" y="{height / 2}" transform="rotate(-90 14 {height / 2})" text-anchor="middle">{escape(y)}</text>'
    )
    style = 'font-family="system-ui, sans-serif" font-size="13" fill="#888"'
    return f'<svg viewBox="0 0 {width} {height}" role="img" {style}>{"".join(parts)}</svg>'


def _summary(demo: Demonstration) -> str:
    record = demo.adapted.integration.record
    model = record.language_model
    return (
        f"{model['id']} ({model['precision']}) never changed. Encoder: {record.encoder['id']}. "
        f"{demo.shots} pairs of {demo.dataset} drawn with seed {demo.seed}; scores are over {len(demo.held_out)} "
        "samples of its test split. Loss is in nats per caption token (lower is better); "
        "shuffled: the same captions against the wrong samples."
    )


def _table(demo: Demonstration) -> str:
    names = ("", "loss", "shuffled", "ROUGE-L", "attributes", "seconds")
    head = "".join(f"<th{' class=number' if n else ''}>{n}</th>" for n in names)
    best = min(demo.rows, key=lambda row: row.scores.loss)
    rows = []
    for row in demo.rows:
        s = row.scores
        cells = (f"{s.loss:.2f}", f"{s.loss_shuffled:.2f}", _number(s.rouge_l), _number(s.attribute_accuracy))
        numbers = "".join(f"<td class=number>{c}</td>" for c in (*cells, f"{row.seconds:.1f}"))
        rows.append(f"<tr{' class=best' if row is best else ''}><td>{_e(row.name)}</td>{numbers}</tr>")
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _figure(demo: Demonstration) -> str:
    trained = [row for row in demo.rows if row.integration.record.metrics["training_loss"]]
    if not trained:
        return "<p>No row took a gradient step.</p>"
    curves = {row.name: row.integration.record.metrics["training_loss"] for row in trained}
    marks = {row.name: row.scores.loss for row in trained}
    chart = line_chart(curves, marks, x="gradient step", y="caption loss (nats per token)")
    note = f"Lines: loss on the {demo.shots} pairs, step by step. Dots: loss on held-out samples at the end."
    return f"<figure>{chart}<figcaption>{note}</figcaption></figure>"


def _cards(demo: Demonstration) -> str:
    cards = []
    for pair, text in list(zip(demo.held_out, demo.adapted.scores.texts, strict=True))[:EXAMPLES]:
        picture = demo.modality.draw(pair.sample) or ""
        cards.append(
            f"<div class=card>{picture}<code>{_e(pair.sample)}</code>"
            f"<div class=said>{_e(text)}</div><div class=true>true: {_e(pair.caption)}</div></div>"
        )
    return "".join(cards)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _e(value: object) -> str:
    return escape(str(value))
