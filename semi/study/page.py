"""A study's report as one HTML file: no scripts, no links, pictures inline, everything escaped."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

Cell = str | float | int | None
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
.wide { overflow-x: auto } table { border-collapse: collapse; min-width: 60% }
td, th { padding: .3rem .6rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
img { max-width: 100%; background: #fff } pre { overflow-x: auto; background: #8881; padding: .8rem }
.true { color: #666 } .lead { font-size: 1.1rem }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd } td, th { border-color: #444 }
  .true { color: #aaa } }
"""


def document(title: str, parts: Iterable[str]) -> str:
    """A whole page from parts that are HTML already."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    body = f"<h1>{escape(title)}</h1>{''.join(parts)}"
    return f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>'


def section(title: str, *parts: str) -> str:
    """A heading and what stands below it; nothing without parts."""
    return f"<h2>{escape(title)}</h2>{''.join(parts)}" if any(parts) else ""


def paragraph(text: str, kind: str = "") -> str:
    """Text in a paragraph."""
    return f"<p{f' class={kind}' if kind else ''}>{escape(text)}</p>"


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table; numbers to the right, None a dash; nothing without rows."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    lines = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<div class=wide><table><tr>{head}</tr>{lines}</table></div>"


def picture(path: Path, description: str) -> str:
    """An SVG file, inline as an image, which loads nothing from elsewhere; nothing where it could not be drawn."""
    if not path.is_file():
        return paragraph("There are no pictures: matplotlib is missing (pip install 'semi-llm[plot]').")
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(description)}">'


def settings(study: Mapping[str, Any], command: str) -> str:
    """The command, the versions and the configuration."""
    versions = ", ".join(f"{name} {number}" for name, number in study["versions"].items())
    config = json.dumps(study["config"], indent=2, ensure_ascii=False)
    return f"<pre>{escape(command)}</pre>{paragraph(versions)}<pre>{escape(config)}</pre>"


def number(value: Mapping[str, float | None] | None, digits: int = 2) -> str | None:
    """Mean and standard error, e.g. "2.75 ± 0.02"."""
    if value is None:
        return None
    return f"{value['mean']:.{digits}f}" + (f" ± {value['se']:.{digits}f}" if value["se"] is not None else "")


def _cell(value: Cell) -> str:
    if value is None:
        return "<td class=number>-</td>"
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    numeric = isinstance(value, float | int) or text[:1].isdigit() or text[:1] in "-+<>"
    return f"<td{' class=number' if numeric else ''}>{escape(text)}</td>"
