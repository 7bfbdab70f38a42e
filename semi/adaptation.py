"""Training 3: a foundation learns one modality from a few pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from semi.artifacts import OutputFolder, open_output
from semi.diagnosis import Trainer, diagnose
from semi.encoding import embed
from semi.errors import InputError, PairsError
from semi.integration import Integration, Record, pool
from semi.memory import Memory
from semi.methods import DEFAULTS, METHODS, Method, Start, Support, start
from semi.modality import Encoder, Modality
from semi.pairs import Pair
from semi.pairs_io import draw_shots, pairs_sha256, read_pairs
from semi.plugins import load_modality
from semi.training.loop import History, Schedule, train

if TYPE_CHECKING:
    from semi.foundation import Foundation

Advance = Callable[[int, str], None]
FEWEST = 2
"""One pair has no direction to learn from."""


@dataclass(frozen=True)
class Settings:
    """How to adapt.

    Attributes:
        method: "semi" (hypernetwork, then training), or a baseline: "scratch" (a fresh projector), "finetune" (the
            shared one), "lora" (low-rank updates of the shared one).
        shots: pairs drawn from those given; None: all of them.
        steps: gradient steps on the pairs; 0: none; None: the method's own number.
        lr: peak learning rate; None: the method's own.
        batch: pairs a step, all of them if there are no more.
        encoder: one of the modality's; None: its default.
        diagnose: estimate loss and accuracy on pairs left out, and name doubtful pairs.

    Raises:
        InputError: on construction, where one of them is out of range.
    """

    method: Method = "semi"
    shots: int | None = None
    seed: int = 0
    steps: int | None = None
    lr: float | None = None
    batch: int = 32
    encoder: str | None = None
    diagnose: bool = True

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError("unknown method", got=self.method, expected=", ".join(METHODS))
        for name, value, least in (("steps", self.steps, 0), ("batch", self.batch, 1), ("seed", self.seed, 0)):
            if value is not None and value < least:
                raise InputError(f"{name} is too small", got=value, expected=f"at least {least}")
        if self.lr is not None and not 0 < self.lr < 1:
            raise InputError("the learning rate is out of range", got=self.lr, expected="between 0 and 1")

    def schedule(self) -> Schedule:
        """The training schedule, with the method's defaults filled in."""
        own = DEFAULTS[self.method]
        steps = own.steps if self.steps is None else self.steps
        return Schedule(
            steps=steps, lr=self.lr or own.lr, warmup=min(5, steps), final_lr=0.1, seed=self.seed, save_every=10
        )


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
    schedule = settings.schedule()
    model = foundation.language_model
    instructions = [pair.instruction or modality.instruction for pair in pairs]
    captions = [pair.caption for pair in pairs]

    def begin(index: Tensor) -> Start:
        return start(
            settings.method, support.subset(index), foundation.projector, foundation.hypernetwork, seed=settings.seed
        )

    def fit(begun: Start, index: Tensor, folder: Path | None = None, tell: Advance = advance) -> History:
        z = begun.alignment(embeddings[index])
        words = [captions[i] for i in index.tolist()]
        asked = [instructions[i] for i in index.tolist()]

        def batch_loss(g: torch.Generator) -> Tensor:
            chosen = torch.randperm(len(z), generator=g)[: settings.batch].sort().values
            rows = chosen.tolist()
            soft = begun.module.soft(z[chosen.to(z.device)])
            nats, tokens = model.caption_loss(soft, [asked[i] for i in rows], [words[i] for i in rows])
            return nats.sum() / tokens.sum()

        begun.module.train()
        return train(_trainable(begun), batch_loss, schedule, folder=folder, advance=tell)

    everything = torch.arange(len(pairs))
    begun = begin(everything)
    with claim() as output:  # only now: a support set that cannot be used leaves `out` as it was, --force or not
        history = fit(begun, everything, output.path if output else None)
        metrics: dict[str, Any] = {"training_loss": [round(row["loss"], 6) for row in history.steps]}
        if settings.diagnose:
            advance(schedule.steps, "diagnosing")
            trainer = Trainer(begin, lambda s, i: fit(s, i, None, lambda step, note: None), embeddings, settings.method)
            metrics["diagnosis"] = diagnose(trainer, model, pairs, instructions, seed=settings.seed)
        record = Record(
            modality=modality.name,
            encoder={"name": settings.encoder or "", "id": encoder.id},
            instruction=modality.instruction,
            language_model=model.source(),
            foundation=foundation.sha256,
            settings=asdict(settings) | {"steps": schedule.steps, "lr": schedule.lr},
            support_sha256=pairs_sha256(pairs),
            metrics=metrics,
        )
        memory = Memory(pool(embeddings), [pair.attributes.get("label", pair.caption) for pair in pairs])
        integration = Integration(
            record, model, modality, encoder, begun.alignment, begun.merged(), memory, begun.adapter
        )
        if output:
            integration.write(output, "metrics.jsonl")
        return integration


def _trainable(begun: Start) -> torch.nn.Module:
    for name, parameter in begun.module.named_parameters():
        parameter.requires_grad_(not name.startswith("projector."))  # inside LoRA, the shared projector stays frozen
    return begun.module


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
