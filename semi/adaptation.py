"""Training 3: a foundation learns one modality from a few pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from semi.artifacts import OutputFolder, open_output
from semi.diagnosis import diagnose
from semi.encoding import embed
from semi.errors import InputError, PairsError
from semi.fitting import SEARCH, Advance, Fitter
from semi.integration import Integration, Record, pool
from semi.memory import Memory
from semi.methods import Support
from semi.modality import Encoder, Modality
from semi.pairs import Pair
from semi.pairs_io import draw_shots, pairs_sha256, read_pairs
from semi.plugins import load_modality
from semi.settings import Settings

if TYPE_CHECKING:
    from semi.foundation import Foundation

FEWEST = 2
"""One pair has no direction to learn from."""


def adapt(
    foundation: Foundation,
    modality: str | Modality,
    pairs: str | Path | Sequence[Pair],
    *,
    settings: Settings | None = None,
    out: str | Path | None = None,
    force: bool = False,
    advance: Advance = lambda step, note: None,
    **options: Any,
) -> Integration:
    """Make an integration of a modality from a few pairs; the same seed gives the same bytes on one machine.

    Args:
        modality: a name that a plugin registered, "vectors", or a Modality.
        pairs: a JSONL or CSV file, a data set's name, or pairs (samples as in a file).
        settings: and/or its attributes as keyword arguments: `adapt(..., shots=32, seed=1)`.
        out: folder to save to. A run that was killed goes on there.
        force: start afresh over what semi made there.
        advance: told (step, note) during the work.

    Raises:
        PairsError: too few pairs, a sample that cannot be used, an empty caption.
        InputError: unknown method or setting.
        OutputError: the folder is taken or cannot be written to.
    """
    chosen = _chosen(settings, options)
    kind = load_modality(modality) if isinstance(modality, str) else modality
    support_pairs = _support_pairs(pairs, kind, chosen)
    config = {
        "foundation": foundation.sha256,
        "language_model": foundation.language_model.source(),
        "modality": kind.name,
        "pairs_sha256": pairs_sha256(support_pairs),
        "settings": asdict(chosen),
    }

    def claim() -> AbstractContextManager[OutputFolder | None]:
        return nullcontext() if out is None else open_output(out, kind=Integration.KIND, config=config, force=force)

    return _adapt(foundation, kind, support_pairs, chosen, claim, advance)


def _adapt(
    foundation: Foundation,
    modality: Modality,
    pairs: Sequence[Pair],
    settings: Settings,
    claim: Callable[[], AbstractContextManager[OutputFolder | None]],
    advance: Advance,
) -> Integration:
    encoder = modality.encoder(settings.encoder)
    embeddings, support = _embed(foundation, modality, encoder, pairs)
    instructions = [pair.instruction or modality.instruction for pair in pairs]
    fitter = Fitter(foundation, settings, pairs, instructions, embeddings, support)
    index, watched = fitter.parts()
    begun = fitter.begin(index)
    with claim() as output:  # only now: a support set that cannot be used leaves `out` as it was, --force or not
        folder = output.path if output else None
        metrics: dict[str, Any] = {}
        schedule = settings.schedule(pairs=len(pairs))
        advance(0, "choosing what to show")
        count, known = fitter.choose_examples(begun, index)
        advance(0, "weighing what to recall")
        recall = fitter.recall(begun, index, count, known)
        if settings.chooses_steps(len(pairs)):
            steps, chosen_on = fitter.choose_steps(count, folder and folder / "choosing-steps", _named(SEARCH, advance))
            schedule = settings.schedule(steps)
            metrics["held_out_loss"] = chosen_on.validations
        learning = _named("learning", advance)
        history = fitter.fit(begun, index, schedule, examples=count, held_out=watched, folder=folder, advance=learning)
        steps = schedule.steps
        if watched is not None:
            steps, metrics["held_out_loss"] = int(history.best["step"]), history.validations
        metrics["training_loss"] = [round(row["loss"], 6) for row in history.steps]
        if recall and steps:
            recall = recall.after(fitter.told_now(begun, index, count))
        if settings.diagnose:
            advance(steps, "diagnosing")
            metrics["diagnosis"] = diagnose(fitter, steps=steps, examples=count)
        taken = {"steps": steps, "lr": schedule.lr, "examples": count, "recall": recall is not None}
        record = Record(
            modality=modality.name,
            encoder={"name": settings.encoder or "", "id": encoder.id},
            instruction=modality.instruction,
            language_model=foundation.language_model.source(),
            foundation=foundation.sha256,
            settings=asdict(settings) | taken,
            support_sha256=pairs_sha256(pairs),
            metrics=metrics,
        )
        memory = Memory(pool(embeddings), [pair.attributes.get("label", pair.caption) for pair in pairs])
        integration = Integration(
            record,
            foundation.language_model,
            modality,
            encoder,
            begun.alignment,
            begun.merged(),
            memory,
            adapter=begun.adapter,
            examples=fitter.examples(begun, index, count),
            recall=recall,
        )
        if output:
            integration.write(output, "metrics.jsonl")
        return integration


def _named(phase: str, advance: Advance) -> Advance:
    return lambda step, note: advance(step, f"{phase}, {note}")


def _support_pairs(pairs: str | Path | Sequence[Pair], modality: Modality, settings: Settings) -> list[Pair]:
    if isinstance(pairs, str | Path):
        found = read_pairs(pairs, modality=modality).pairs
    else:
        found = [_parsed(pair, i, modality) for i, pair in enumerate(pairs)]
    chosen = draw_shots(found, len(found) if settings.shots is None else settings.shots, settings.seed)
    if len(chosen) < FEWEST:
        raise PairsError("too few pairs to adapt to", got=len(chosen), expected=f"at least {FEWEST}, 32 if you can")
    return chosen


def _parsed(pair: Pair, index: int, modality: Modality) -> Pair:
    if not pair.caption.strip():
        raise PairsError(f"pair {index} has an empty caption", do="give every sample a caption")
    return replace(pair, sample=modality.parse(pair.sample))


def _embed(
    foundation: Foundation, modality: Modality, encoder: Encoder, pairs: Sequence[Pair]
) -> tuple[Tensor, Support]:
    device = foundation.language_model.device
    embeddings = torch.from_numpy(embed(encoder, [pair.sample for pair in pairs])).to(device)
    texts = foundation.embed_texts([pair.caption for pair in pairs])
    return embeddings, Support(pool(embeddings), texts, foundation.embed_texts([modality.instruction]))


def _chosen(settings: Settings | None, options: dict[str, Any]) -> Settings:
    known = [field.name for field in fields(Settings)]
    if unknown := sorted(set(options) - set(known)):
        raise InputError("unknown settings", got=", ".join(unknown), expected=f"some of {', '.join(known)}")
    return replace(settings or Settings(), **options)
