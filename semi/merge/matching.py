"""Which tensor of a model is which of its base's, whatever multimodal model it stands in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from semi.merge.checkpoint import HEAD, Checkpoint, first_ten
from semi.merge.config import ModelConfig
from semi.merge.lora import LoraAdapter, LowRank

Model = Checkpoint | LoraAdapter

_TRUNK = "model."
"""transformers' name for what a language model has below its head; some multimodal models leave it out."""


@dataclass(frozen=True)
class Matching:
    """The keys of one model.

    Attributes:
        names: its key by the base's.
        kept: its keys that the base lacks, to be copied byte for byte.
        problems: what fits nowhere, in words.
        notes: what is allowed but worth telling.
    """

    names: Mapping[str, str]
    kept: tuple[str, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def match_keys(base: Checkpoint, model: Model, config: ModelConfig, *, named: bool = True) -> Matching:
    """Give each key of a model its place: in the base, among what `keep` names, or among the problems.

    A key is in the base under its name without `llm_prefix`, under its whole name, or, where a prefix was taken off,
    behind "model.". A full model must have all of the base's keys, an adapter need not.

    Args:
        base: the base.
        model: a model, opened with its prefix.
        config: of the model.
        named: `verify.require_all_keys`; without it, a key outside the base is kept though `keep` does not name it.
    """
    names: dict[str, str] = {}
    outside: list[str] = []
    problems: list[str] = []
    known = set(base.keys)
    for key in model.keys:
        stored = model.info(key).stored
        candidates = (key, stored) if stored == key else (key, stored, _TRUNK + key)
        own = next((candidate for candidate in candidates if candidate in known), None)
        if own is None:
            outside.append(key)
        elif own in names:
            problems.append(f"{names[own]} and {key} are both the base's {own}")
        else:
            names[own] = key
    if not names:
        first = model.info(model.keys[0]).stored if model.keys else "nothing"
        what = f"has no key of the base, its first is {first}: check its path and llm_prefix"
        return Matching(names, (), (f"{config.name}: {what}",), ())

    kept = [key for key in outside if any(_begins(model, key, start) for start in config.keep)]
    unnamed = [] if named else [key for key in outside if key not in kept and key != HEAD]
    kept = sorted([*kept, *unnamed])
    problems += [f"{key} is in neither the base nor `keep`" for key in outside if key not in kept and key != HEAD]
    if HEAD in outside and HEAD not in kept:
        problems.append(f"has {HEAD}, which the base ties to its embeddings or lacks: `keep` it, or tie it")
    problems += [f"changes {key}, which the base lacks, by LoRA" for key in kept if _low_rank(model, key)]
    if isinstance(model, Checkpoint):
        tied = f"lacks {HEAD}, tied to its embeddings or absent, of which the base has its own"
        problems += [tied if key == HEAD else f"lacks {key}" for key in base.keys if key not in names]
    idle = [start for start in config.keep if not any(_begins(model, key, start) for key in outside)]
    notes = [f"`keep` {start} begins no key outside the base" for start in idle]
    if not any(model.info(key).stored.startswith(config.llm_prefix) for key in model.keys):
        notes.append(f"`llm_prefix` {config.llm_prefix} begins no key")
    notes += [f"{len(unnamed):,} tensors are kept that `keep` does not name: {first_ten(unnamed)}"] if unnamed else []
    return Matching(
        names,
        tuple(kept),
        tuple(f"{config.name}: {problem}" for problem in problems),
        tuple(f"{config.name}: {note}" for note in notes),
    )


def _begins(model: Model, key: str, start: str) -> bool:
    return key.startswith(start) or model.info(key).stored.startswith(start)


def _low_rank(model: Model, key: str) -> bool:
    return isinstance(model, LoraAdapter) and isinstance(model.info(key), LowRank)
