"""Captions of made-up modalities as people write them for one kind of data: a frame stays, words in it change.

Real captions of a sensor share their sentence ("A dark wine of cultivar A, strong in alcohol.") and differ in a few
words of its own trade. Frames are drawn from pieces of sentences, their constant words and the values of their slots
from some six thousand words, so that neither frame nor words can be known beforehand: the support set tells them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

from semi.procedural.drawing import integer, words

T = TypeVar("T")

SUBJECTS = (
    "A {value} {noun}", "{value} {noun}", "{noun}, {value}", "The {noun} is {value}", "This is a {value} {noun}",
    "{value}", "{noun} of {value}", "{adjective} {noun} with {value}", "An image of a {value} {noun}",
)  # fmt: skip
CLAUSES = (
    "{value} {noun}", "with {value} {noun}", "{noun} {value}", "{noun}: {value}", "of {value} {noun}", "{value}",
    "{value} in {noun}", "in the {value} {noun}", "made of {value}", "its {noun} is {value}", "near {value}",
    "and {value}", "the {adjective} {noun} is {value}", "{adjective} to the {value}", "from {value}",
)  # fmt: skip
JOINS = (", ", " ", "; ", ". ")
KINDS = ("adjectives", "nouns", "scales")
SLOTS = (2, 5)
VALUES = (2, 8)
"""Fewest and most values of a slot; a scale has those it has."""


def draw_frames(g: torch.Generator) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """The values of some slots, and one or two frames that name every slot in braces."""
    vocabulary = words("vocabulary.json")
    slots: dict[str, tuple[str, ...]] = {}
    pieces: list[str] = []
    for i in range(_between(*SLOTS, g)):
        kind = _one(KINDS, g)
        name = f"{_one(vocabulary['nouns'], g)}-{i}"
        slots[name] = tuple(_one(vocabulary["scales"], g)) if kind == "scales" else _some(vocabulary[kind], g)
        piece = _one(CLAUSES if i else SUBJECTS, g)
        constant = {"noun": _one(vocabulary["nouns"], g), "adjective": _one(vocabulary["adjectives"], g)}
        pieces.append(piece.format(value=f"{{{name}}}", **constant))
    frames = []
    for _ in range(_between(1, 2, g)):
        rest = [pieces[1 + i] for i in torch.randperm(len(pieces) - 1, generator=g).tolist()]
        join, end = _one(JOINS, g), _one(("", "."), g)
        frames.append(join.join([pieces[0], *rest]) + end)
    return slots, tuple(frames)


def fill(frame: str, row: dict[str, str]) -> str:
    """The frame with a sample's values in it."""
    caption = frame.format(**row)
    return caption[:1].upper() + caption[1:]


def _one(some: Sequence[T], g: torch.Generator) -> T:
    return some[integer(len(some), g)]


def _some(known: list[str], g: torch.Generator) -> tuple[str, ...]:
    chosen = torch.randint(len(known), (_between(*VALUES, g),), generator=g).tolist()
    return tuple(dict.fromkeys(known[i] for i in chosen))


def _between(low: int, high: int, g: torch.Generator) -> int:
    return low + integer(high - low + 1, g)
