"""`semi adapt`: a modality from a few pairs."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from semi.cli._common import BASE, FORCE, FOUNDATION, LANGUAGE_MODEL, QUIET, SEED, progress
from semi.errors import InputError

if TYPE_CHECKING:
    from semi.integration import Integration
    from semi.methods import Method
    from semi.modality import Modality
    from semi.pairs import Pair
    from semi.pairs_io import PairList


def command(
    modality: Annotated[str, typer.Argument(help="What the samples are: `semi plugins` lists them; or vectors.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write; an interrupted run resumes.")],
    pairs: Annotated[str | None, typer.Option("--pairs", help="A .jsonl or .csv file, or a data set's name.")] = None,
    samples: Annotated[Path | None, typer.Option("--samples", help="A .npy or .npz file, instead of --pairs.")] = None,
    labels: Annotated[Path | None, typer.Option("--labels", help="A .csv file with a label for each sample.")] = None,
    template: Annotated[
        str, typer.Option("--template", help="The caption of a label, e.g. 'The person is {label}.'")
    ] = "This is {label}.",
    shots: Annotated[
        int | None, typer.Option("--shots", "-k", help="Pairs drawn by the seed; all if not given.")
    ] = None,
    seed: SEED = 0,
    steps: Annotated[
        int | None,
        typer.Option("--steps", help="Gradient steps; 0 for none; found by early stopping on the pairs if not given."),
    ] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")] = None,
    method: Annotated[str, typer.Option("--method", help="semi, ridge, scratch, finetune, lora or bias.")] = "semi",
    encoder: Annotated[str | None, typer.Option("--encoder", help="One of the modality's encoders.")] = None,
    foundation: FOUNDATION = "smollm2-135m",
    precision: Annotated[
        str | None, typer.Option("--precision", help="Of the language model: nf4, q4_1, bf16 or fp32.")
    ] = None,
    language_model: LANGUAGE_MODEL = None,
    base: BASE = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out pairs that cannot be used.")] = False,
    examples: Annotated[
        int | None,
        typer.Option(
            "--examples", help="Pairs shown beside a sample, the nearest ones; found on the pairs if not given."
        ),
    ] = None,
    recall: Annotated[
        bool | None,
        typer.Option(help="Whether captions of the pairs have a say in what is written; SEMI's do if not given."),
    ] = None,
    subsets: Annotated[
        int, typer.Option("--subsets", help="Parts of the pairs that the hypernetwork reads one by one.")
    ] = 1,
    hypernetwork: Annotated[
        str | None, typer.Option("--hypernetwork", help="One of the foundation's: ridge or attention.")
    ] = None,
    diagnose: Annotated[bool, typer.Option(help="Judge the pairs by leaving them out.")] = True,
    force: FORCE = False,
    quiet: QUIET = False,
) -> None:
    """Teach the language model a kind of data from a few (sample, caption) pairs."""
    from semi.artifacts import require_free
    from semi.plugins import load_modality

    require_free(out, force=force)
    kind = load_modality(modality)
    found = _read(kind, pairs, samples, labels, template, skip_bad)
    for problem in found.skipped:
        typer.echo(f"skipped {problem}", err=True)
    if found.skipped:
        typer.echo(f"skipped {len(found.skipped)} of {len(found.skipped) + len(found.pairs)} pairs", err=True)
    from semi.pairs_io import draw_shots

    drawn = draw_shots(found.pairs, len(found.pairs) if shots is None else shots, seed)

    from semi.adaptation import adapt
    from semi.foundation import Foundation
    from semi.integration import Integration
    from semi.settings import Settings

    settings = Settings(
        cast("Method", method),
        None,
        seed,
        steps,
        lr,
        encoder=encoder,
        examples=examples,
        recall=recall,
        subsets=subsets,
        hypernetwork=hypernetwork,
        diagnose=diagnose,
    )
    known = {"modality": kind.name, "settings": asdict(settings)}
    require_free(out, force=force, kind=Integration.KIND, known=known)  # loading the language model takes seconds
    with progress("Adapting", settings.schedule(pairs=len(drawn)).steps, quiet=quiet) as bar:
        loaded = Foundation.load(foundation, precision=precision, language_model=language_model, base=base)
        integration = adapt(
            loaded,
            kind,
            drawn,
            settings=settings,
            out=out,
            force=force,
            advance=lambda step, note: bar.to(step, description=f"Adapting: {note}"),
        )
        loss = _loss(integration, drawn)
    typer.echo(f"{out}: {modality} from {len(drawn)} pairs, method {method}, seed {seed}")
    typer.echo(f"caption loss on the pairs: {loss}")
    if shown := integration.record.settings["examples"]:
        typer.echo(f"shown beside a sample: the {shown} nearest pairs")
    if integration.recall:
        weight = integration.recall.constants.weight
        typer.echo(f"recalled in what is written: the captions of the pairs, with weight {weight:g}")
    for line in summary(integration.record.metrics.get("diagnosis")):
        typer.echo(line)
    typer.echo(f"next: semi describe {shlex.quote(str(out))} SAMPLE")


def _loss(integration: Integration, pairs: list[Pair]) -> str:
    """What training did to the loss on the pairs; where there was none, what the start gives."""
    curve = integration.record.metrics["training_loss"]
    if curve:
        return f"{curve[0]:.2f} -> {curve[-1]:.2f} nats a token in {len(curve)} steps"
    from semi.evaluation import caption_loss

    soft = integration.soft(integration.embed([pair.sample for pair in pairs]))  # and no example: it might be the pair
    asked = [pair.instruction or integration.record.instruction for pair in pairs]
    loss = caption_loss(integration.language_model, soft, asked, [pair.caption for pair in pairs])
    return f"{loss:.2f} nats a token, without a gradient step"


def summary(found: dict[str, Any] | None) -> list[str]:
    """What the diagnosis says, in lines for people."""
    if found is None:
        return []
    if "note" in found:
        return [found["note"]]
    lines = [
        f"left-out pairs ({found['protocol']}): loss {found['loss']:.2f}, "
        f"the right caption of {round(1 / found['chance'])} in {found['accuracy']:.0%} (chance {found['chance']:.0%})"
    ]
    if found["worst"]:
        lines.append("worst pairs, possibly mislabelled:")
        lines += [f"  {w['sample']}: {w['caption']!r}, more like {w['likelier']!r}" for w in found["worst"]]
    if found["few_shots"]:
        few = ", ".join(f"{f['slot']}={f['value']} ({f['shots']})" for f in found["few_shots"][:8])
        more = len(found["few_shots"]) - 8
        lines.append(f"few shots: {few}{f' and {more} more' if more > 0 else ''}")
    if found["more"]:
        lines.append(found["more"]["sentence"])
    return lines


def _read(
    kind: Modality,
    pairs: str | None,
    samples: Path | None,
    labels: Path | None,
    template: str,
    skip_bad: bool,
) -> PairList:
    from semi.pairs_io import read_labelled, read_pairs

    if pairs is not None and samples is None and labels is None:
        return read_pairs(pairs, modality=kind, skip_bad=skip_bad)
    if pairs is None and samples is not None and labels is not None:
        return read_labelled(samples, labels, template, modality=kind, skip_bad=skip_bad)
    given = {"--pairs": pairs, "--samples": samples, "--labels": labels}
    raise InputError(
        "where are the pairs?",
        got=" and ".join(name for name, value in given.items() if value is not None) or "none of them",
        expected="either --pairs, or --samples and --labels",
    )
