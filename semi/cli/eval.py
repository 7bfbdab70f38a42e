"""`semi eval`: scores on held-out pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from semi.cli._common import BASE, JSON, LANGUAGE_MODEL, emit_json
from semi.errors import InputError


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `semi adapt` wrote.")],
    pairs: Annotated[str, typer.Option("--pairs", help="A .jsonl or .csv file, or a data set's name (split test).")],
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Score N pairs, drawn with seed 0.")] = None,
    generate: Annotated[bool, typer.Option(help="Also write text and score it.")] = True,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="Also score by a plugin's metric; can be given several times.")
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out pairs that cannot be used.")] = False,
    language_model: LANGUAGE_MODEL = None,
    base: BASE = None,
    as_json: JSON = False,
) -> None:
    """Score an integration: caption loss per token, scores of generated text, metrics of plugins."""
    from semi.plugins import load_metric

    if metric and not generate:
        raise InputError("a metric needs generated text", got="--metric with --no-generate", do="leave one of them out")
    metrics = [load_metric(name) for name in dict.fromkeys(metric or ())]

    from semi.evaluation import apply_metric, evaluate
    from semi.integration import Integration
    from semi.pairs_io import draw_shots, read_pairs
    from semi.plugins import load_modality

    found = read_pairs(pairs, modality=load_modality(Integration.modality_of(folder)), split="test", skip_bad=skip_bad)
    chosen = draw_shots(found.pairs, min(limit, len(found.pairs)), 0) if limit else found.pairs
    scores = evaluate(
        Integration.load(folder, language_model=language_model, base=base), chosen, texts=None if generate else 0
    )
    result = {
        "n": scores.n,
        "loss": scores.loss,
        "loss_shuffled": scores.loss_shuffled,
        "rouge_l": scores.rouge_l,
        "bleu_4": scores.bleu_4,
        "meteor": scores.meteor,
        "cider_d": scores.cider_d,
        "attribute_accuracy": scores.attribute_accuracy,
        "skipped": len(found.skipped),
    } | {each.name: apply_metric(each, scores.texts, chosen) for each in metrics}
    if as_json:
        emit_json(result)
        return
    for name, value in result.items():
        if value is not None:
            typer.echo(f"{name:20} {value:.4f}" if isinstance(value, float) else f"{name:20} {value}")
