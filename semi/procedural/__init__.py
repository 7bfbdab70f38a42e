"""Procedural modalities: endless, seeded, made-up kinds of data to train projector and hypernetwork on.

A modality draws a few attribute slots (size, colour, animal, place, ...), a random encoder of random width that maps
slot values and nuisance factors to embeddings, and its own ways of putting the attributes into words. What carries
over to a real modality is not the content but the task: read off 32 pairs which directions of an unknown embedding
mean what (RECIPE: with 6 modalities transfer was at chance, with 140 procedural ones it worked).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semi.pairs import Pair
from semi.procedural.drawing import integer, words
from semi.procedural.frames import draw_frames, fill

LEADING = ("number",)
ADJECTIVES = (
    "rank", "size", "age", "temperature", "danger", "mood", "strength", "rate", "brightness", "odour", "phase",
    "texture", "shape", "colour", "material",
)  # fmt: skip
NOUNS = (
    "animal", "vehicle", "building", "tool", "plant", "food", "instrument", "furniture", "clothing", "landform",
    "person", "sky", "signal", "substance", "machine", "sound",
)  # fmt: skip
TRAILING = ("action", "process", "part", "content", "place", "time", "use")
WIDTHS = (16, 1024)
"""Smallest and largest embedding width; drawn log-uniformly."""


@dataclass(frozen=True)
class ProceduralModality:
    """One made-up modality.

    Attributes:
        name: "procedural-<seed>".
        slots: attribute slots and the values each takes here, in the order of its captions.
        width: of its embeddings.
        phrasings: which of the three phrasings its captions use.
        frames: sentences of its own instead, see `semi.procedural.frames`.
        seed: everything above and the random encoder follow from it.
    """

    name: str
    slots: dict[str, tuple[str, ...]]
    width: int
    phrasings: tuple[int, ...]
    seed: int
    frames: tuple[str, ...] = ()

    @classmethod
    def draw(cls, seed: int, *, framed: bool = False) -> ProceduralModality:
        """The modality of a seed: one noun slot and 1 to 4 others, each with 3 to 8 values.

        Args:
            framed: with slots, values and sentences of `semi.procedural.frames` instead.
        """
        g = torch.Generator().manual_seed(seed)
        if framed:
            slots, frames = draw_frames(g)
            return cls(f"framed-{seed}", slots, _width(g), (), seed, frames)
        noun = NOUNS[integer(len(NOUNS), g)]
        others = [*LEADING, *ADJECTIVES, *TRAILING]
        chosen = {noun, *(others[i] for i in torch.randperm(len(others), generator=g)[: 1 + integer(4, g)].tolist())}
        slots = {}
        for slot in (s for s in (*LEADING, *ADJECTIVES, *NOUNS, *TRAILING) if s in chosen):
            values = words("words.json")[slot]
            count = min(len(values), 3 + integer(6, g))
            slots[slot] = tuple(values[i] for i in torch.randperm(len(values), generator=g)[:count].tolist())
        width = _width(g)
        phrasings = tuple(torch.randperm(3, generator=g)[: 1 + integer(3, g)].tolist())
        return cls(f"procedural-{seed}", slots, width, phrasings, seed)

    def sample(self, n: int, *, seed: int) -> tuple[Tensor, list[Pair]]:
        """n embeddings (n, width) float32 and their pairs; captions and attributes follow the slots."""
        g = torch.Generator().manual_seed(self.seed * 1_000_003 + seed)
        picks = {slot: torch.randint(len(values), (n,), generator=g) for slot, values in self.slots.items()}
        factors = self._factors(picks, n, g)
        embeddings = self._encode(factors)
        embeddings = embeddings + 0.1 * embeddings.std() * torch.randn(embeddings.shape, generator=g)
        rows = [{slot: self.slots[slot][int(picks[slot][i])] for slot in self.slots} for i in range(n)]
        captions = [self._caption(row, g) for row in rows]
        return embeddings, [
            Pair(sample=None, caption=caption, attributes=row) for row, caption in zip(rows, captions, strict=True)
        ]

    def _caption(self, row: dict[str, str], g: torch.Generator) -> str:
        if self.frames:
            return fill(self.frames[integer(len(self.frames), g)], row)
        return phrase(row, self.phrasings[integer(len(self.phrasings), g)])

    def _factors(self, picks: dict[str, Tensor], n: int, g: torch.Generator) -> Tensor:
        """Latent factors (n, 8 * slots + 8): a random vector a slot value, slots of unlike salience, and nuisance."""
        own = torch.Generator().manual_seed(self.seed + 1)
        parts = []
        for slot, values in self.slots.items():
            # Of real captions some facts can hardly be seen in the sample at all.
            salience = torch.exp((1.0 if self.frames else 0.5) * torch.randn((), generator=own))
            parts.append(salience * torch.randn(len(values), 8, generator=own)[picks[slot]])
        return torch.cat([*parts, 0.5 * torch.randn(n, 8, generator=g)], dim=1)

    def _encode(self, x: Tensor) -> Tensor:
        """A random network of 1 to 3 layers with unequal output scales and an offset: (n, f) -> (n, width)."""
        own = torch.Generator().manual_seed(self.seed + 2)
        for _ in range(integer(3, own)):
            hidden = 64 + integer(192, own)
            x = x @ torch.randn(x.shape[1], hidden, generator=own) / x.shape[1] ** 0.5
            x = (torch.tanh, torch.relu, torch.nn.functional.gelu)[integer(3, own)](x)
        x = x @ torch.randn(x.shape[1], self.width, generator=own) / x.shape[1] ** 0.5
        scales = torch.exp(0.5 * torch.randn(self.width, generator=own))
        return x * scales + torch.randn(self.width, generator=own)


def phrase(row: dict[str, str], way: int) -> str:
    """Attributes in words, in one of three ways: a noun phrase, a list, or a sentence."""
    noun = next(row[s] for s in row if s in NOUNS)
    before = [row[s] for s in row if s in ADJECTIVES]
    after = [row[s] for s in row if s in TRAILING]
    number = next((row[s] for s in row if s in LEADING), None)
    plural = number not in (None, "a")
    name = _plural(noun) if plural else noun
    if way == 0:
        return " ".join([*([number] if number else []), *before, name, *after])
    if way == 1:
        return ", ".join([f"{number} {name}" if number else name, *before, *after])
    subject = f"{number or 'the'} {name}".capitalize()
    rest = [*([" and ".join(before)] if before else []), *after] or ["here"]
    return f"{subject} {'are' if plural else 'is'} {' '.join(rest)}"


def _width(g: torch.Generator) -> int:
    low, high = (torch.tensor(float(w)).log() for w in WIDTHS)
    return int(torch.exp(low + (high - low) * torch.rand((), generator=g)).round())


def _plural(noun: str) -> str:
    irregular = {"man": "men", "woman": "women", "child": "children", "fish": "fish", "sheep": "sheep"}
    if noun in irregular:
        return irregular[noun]
    if noun.endswith(("s", "ch", "sh", "x")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"
