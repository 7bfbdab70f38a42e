"""What the page shows, as HTML; every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from semi.errors import SemiError
from semi.integration import Integration, Reading
from semi.memory import Neighbour
from semi.modality import Modality
from semi.ui.dropped import without_folder
from semi.ui.job import Answer, Job

LONGEST = 160
"""Characters of a sample that is shown as text."""
WORSE = (
    "The loss on the pairs learned from went up: learning made it worse. Compare the answers, and learn again with "
    "fewer gradient steps, or with 0."
)
GOOD, DOUBTFUL = ("ok", "available", "loaded"), ("warn", "blocked")


def problem(error: Exception) -> str:
    """What is wrong, what was got and expected, and what to do; never a traceback."""
    if not isinstance(error, SemiError):
        first = (str(error).splitlines() or [""])[0]
        error = SemiError(f"{type(error).__name__}: {first}", do="if it stays, report it with what you did")
    rows = (("got", error.got), ("expected", error.expected), ("do this", error.do))
    terms = "".join(
        f"<dt>{name}</dt><dd>{_lines(without_folder(value))}</dd>" for name, value in rows if value is not None
    )
    what = _lines(without_folder(error.what))
    return f'<div class="semi-problem" role="alert"><strong>{what}</strong><dl>{terms}</dl></div>'


def notice(text: str) -> str:
    """A line that a screen reader reads out when it appears."""
    return f'<p class="semi-notice" role="status">{escape(text)}</p>' if text else ""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", *, cards: bool = False) -> str:
    """A table of cells that are HTML already.

    Args:
        cards: whether each row becomes a card on a phone, where its cells are long.
    """
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    labels = [f'<td data-label="{escape(column)}"><div>' for column in columns]
    lines = ("".join(f"{label}{cell}</div></td>" for label, cell in zip(labels, row, strict=True)) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    kind = "semi-table semi-cards" if cards else "semi-table"
    return f'<table class="{kind}">{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def work(job: Job) -> str:
    """The stages of an adaptation, the bar of the one at work, and how it ended."""
    progress = job.progress
    ends = [*(began for _, began in progress.stages[1:]), progress.seconds]
    items = []
    for number, ((name, began), end) in enumerate(zip(progress.stages, ends, strict=True), start=1):
        current = number == len(progress.stages) and job.state == "running"
        detail = f" <span>{escape(progress.note)}</span>" if current and progress.note else ""
        mark = ' aria-current="step"' if current else ""
        items.append(f"<li{mark}>{escape(name)}{detail} <time>{end - began:.0f} s</time></li>")
    bar = ""
    if job.state == "running":
        share = f' value="{min(progress.step, progress.total)}" max="{progress.total}"' if progress.total else ""
        bar = f'<progress aria-label="Steps"{share}></progress>'
    said = {"running": "Learning", "done": "Learned", "cancelled": "Stopped", "failed": "Failed"}[job.state]
    what = f"{escape(job.order.modality.name)}: {len(job.order.pairs)} pairs, {progress.seconds:.0f} s"
    head = f'<p role="status"><strong>{said}</strong> {what}</p>'
    failed = problem(job.error) if job.error else ""
    return f'<div class="semi-work" data-state="{job.state}">{head}{bar}<ol>{"".join(items)}</ol>{failed}</div>'


def answers(rows: Sequence[Answer], modality: Modality) -> str:
    """What is said of samples before and after, beside the true captions."""
    columns = ("sample", "true", "zero-step", "adapted")
    cells = [
        (sample(row.sample, modality), _lines(row.caption) or "-", _said(row.before), _said(row.after)) for row in rows
    ]
    return table(columns, cells, cards=True)


def sample(raw: Any, modality: Modality) -> str:
    """A picture of a sample where its modality draws one, else its beginning as text."""
    try:
        drawn = modality.draw(raw)
    except Exception:  # a picture is no reason to show nothing
        drawn = None
    if drawn:
        return f'<div class="semi-picture">{drawn}</div>'
    text = " ".join(str(getattr(raw, "name", raw)).split())
    return f"<code>{escape(text if len(text) <= LONGEST else f'{text[: LONGEST - 1]}…')}</code>"


def diagnosis(integration: Integration) -> str:
    """What leaving pairs out said: loss, accuracy, doubtful pairs, classes with few shots, what more would bring."""
    metrics = integration.record.metrics
    found: Mapping[str, Any] = metrics.get("diagnosis") or {"note": "not asked for"}
    curve = metrics["training_loss"]
    worse = notice(WORSE) if curve and curve[-1] > curve[0] else ""
    if "note" in found:
        return worse + notice(found["note"])
    learned = f"{curve[0]:.2f} → {curve[-1]:.2f} in {len(curve)} steps" if curve else "no step"
    chance = f"the right caption of {round(1 / found['chance'])}, chance {found['chance']:.0%}"
    parts = [
        worse,
        facts(
            {
                "accuracy, pairs left out": (f"{found['accuracy']:.0%}", chance),
                "loss, pairs left out": (f"{found['loss']:.2f}", f"nats a token; {found['protocol']}"),
                "loss, pairs learned from": (learned, "nats a token"),
                "shown beside a sample": (str(found["examples"]), "nearest pairs"),
            }
        ),
    ]
    if found["worst"]:
        rows = [tuple(escape(str(row[name])) for name in ("sample", "caption", "likelier")) for row in found["worst"]]
        parts.append(table(("sample", "caption", "more like"), rows, "Possibly mislabelled", cards=True))
    if found["few_shots"]:
        rows = [(f"{escape(row['slot'])}: {escape(row['value'])}", str(row["shots"])) for row in found["few_shots"]]
        parts.append(table(("class", "shots"), rows, "Classes with few shots"))
    if found["more"]:
        parts.append(f"<p>{escape(found['more']['sentence'])}</p>")
    return "".join(parts)


def facts(values: Mapping[str, tuple[str, str]]) -> str:
    """Numbers side by side: what, the value, what it means."""
    cards = "".join(
        f"<div><dt>{escape(name)}</dt><dd><strong>{escape(value)}</strong> <span>{escape(meaning)}</span></dd></div>"
        for name, (value, meaning) in values.items()
    )
    return f'<dl class="semi-facts">{cards}</dl>'


def nearest(found: Sequence[Neighbour]) -> str:
    """Labels with bars; 1.0 is the usual distance between neighbours in the support set."""
    rows = (
        f'<li><span>{escape(each.label)}</span><meter min="0" max="1" value="{1 / (1 + each.distance):.3f}" '
        f'aria-label="nearness of {escape(each.label)}"></meter><span>{each.distance:.2f}</span></li>'
        for each in found
    )
    return f'<ol class="semi-nearest">{"".join(rows)}</ol>'


def unlike() -> str:
    """Of a sample outside of what the support set covers."""
    return '<span class="semi-unlike">unlike anything seen</span>'


def state(name: str, cause: str = "") -> str:
    """The state of a plugin or of a check, and why."""
    kind, mark = ("semi-good", "✓") if name in GOOD else ("semi-doubtful", "!") if name in DOUBTFUL else ("", "✕")
    why = f"<br><small>{escape(cause)}</small>" if cause else ""
    return f'<span class="semi-state {kind}">{mark} {escape(name)}</span>{why}'


def _said(reading: Reading) -> str:
    text = f"<q>{_lines(reading.text)}</q>"
    closest = reading.nearest[0]
    warning = f"<br>{unlike()}" if reading.unlike_anything_seen else ""
    return f"{text}<br><small>nearest: {escape(closest.label)} ({closest.distance:.2f})</small>{warning}"


def _lines(text: object) -> str:
    return escape(str(text)).replace("\n", "<br>")
