"""Training pairs in memory, and the batches drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from semi.artifacts import config_hash, load_tensors, save_tensors
from semi.errors import InputError
from semi.modality import Encoder
from semi.pairs import Pair
from semi.procedural import ProceduralModality
from semi.text_space import TextSpace
from semi.training.config import FEWEST_PAIRS, SourceConfig

INSTRUCTIONS = (
    "Describe this sample.",
    "What is this?",
    "Describe this.",
    "What does this show?",
    "Say in a few words what this is.",
)
"""Instructions of procedural modalities, by seed: a foundation should not hang on one wording."""
VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class Source:
    """The pairs of one modality, encoded.

    Attributes:
        embeddings: (n, d_enc) float32; `texts` itself where samples are the captions.
        texts: caption embeddings (n, d_text) float32.
    """

    name: str
    embeddings: Tensor
    texts: Tensor
    captions: list[str]
    instruction: str

    @property
    def is_text(self) -> bool:
        """Whether its samples are the captions themselves."""
        return self.embeddings is self.texts

    def __len__(self) -> int:
        return len(self.captions)


@dataclass(frozen=True)
class Family:
    """Sources that share one entry of a configuration, split into training and validation."""

    train: list[Source]
    validation: list[Source]
    weight: float


@dataclass(frozen=True)
class Episode:
    """A disjoint support set and queries of one source, as indices into it."""

    source: Source
    support: Tensor
    queries: Tensor

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Support embeddings (k, d), support texts (k, d_text), query embeddings (n, d)."""
        x, texts = self.source.embeddings, self.source.texts
        return x[self.support], texts[self.support], x[self.queries]

    @property
    def captions(self) -> list[str]:
        """The queries' captions."""
        return [self.source.captions[i] for i in self.queries.tolist()]

    @property
    def instructions(self) -> list[str]:
        """The queries' instructions."""
        return [self.source.instruction] * len(self.queries)


def load_families(
    configs: Sequence[SourceConfig], space: TextSpace, cache: Path, advance: Callable[[int, str], None]
) -> list[Family]:
    """All sources of a configuration, with the embeddings of their captions (computed once, kept in `cache`)."""
    return [
        _encoded(config, space, cache, advance) if config.encoded else _procedural(config, space, cache, advance)
        for config in configs
    ]


def require_enough(folder: Path, pairs: int) -> None:
    """Refuse an encoded folder of too few pairs: both parts need a support set and queries."""
    if pairs < 2 * FEWEST_PAIRS:
        raise InputError(
            f"{folder} holds too few pairs to train on", got=pairs, expected=f"at least {2 * FEWEST_PAIRS}"
        )


def embed_captions(
    captions: Sequence[str], encoder: Encoder, cache: Path, advance: Callable[[int, str], None]
) -> Tensor:
    """Caption embeddings (n, d_text) float32, each distinct caption encoded once."""
    distinct = sorted(set(captions))
    path = cache / f"texts-{config_hash([encoder.id, distinct])[:16]}.safetensors"
    if path.is_file():
        table = load_tensors(path, {"texts": (len(distinct), encoder.width)})["texts"]
    else:
        parts = []
        for start in range(0, len(distinct), 256):
            parts.append(torch.from_numpy(encoder.encode(distinct[start : start + 256])))
            advance(min(start + 256, len(distinct)), f"captions of {len(distinct)}")
        table = torch.cat(parts).float()
        save_tensors(path, {"texts": table})
    where = {caption: i for i, caption in enumerate(distinct)}
    return table[torch.tensor([where[c] for c in captions])]


def draw_episode(source: Source, shots: int, queries: int, generator: torch.Generator) -> Episode:
    """A support set of `shots` pairs and `queries` others; fewer shots where the source is small."""
    queries = min(queries, len(source) // 2)
    shots = min(shots, len(source) - queries)
    picks = torch.randperm(len(source), generator=generator)[: shots + queries]
    return Episode(source, picks[:shots], picks[shots:])


def pick(sources: Sequence[Source], generator: torch.Generator) -> Source:
    """One of the sources, all equally likely."""
    return sources[int(torch.randint(len(sources), (), generator=generator))]


def shares(families: Sequence[Family], rows: int) -> list[int]:
    """Rows of a batch for each family, by weight; every family gets at least one, the heaviest the rounding."""
    total = sum(f.weight for f in families)
    counts = [max(1, round(rows * f.weight / total)) for f in families]
    spare = rows - sum(counts)
    for i in sorted(range(len(families)), key=lambda i: -families[i].weight):
        change = max(spare, 1 - counts[i])
        counts[i], spare = counts[i] + change, spare - change
    return counts


def _encoded(config: SourceConfig, space: TextSpace, cache: Path, advance: Callable[[int, str], None]) -> Family:
    parts = [_parts(folder, space, cache, advance) for folder in config.folders]
    return Family([train for train, _ in parts], [held for _, held in parts], config.weight)


def _parts(folder: Path, space: TextSpace, cache: Path, advance: Callable[[int, str], None]) -> tuple[Source, Source]:
    """An encoded folder, as a source to train on and one held out."""
    from semi.encoding import load_encoded

    encoded = load_encoded(folder)
    embeddings = torch.from_numpy(encoded.embeddings)
    if embeddings.ndim == 3:
        embeddings = embeddings.mean(1)  # one embedding a sample conditions and trains
    captions = [pair.caption for pair in encoded.pairs]
    # Texts are read as what is predicted of other samples, so that the projector learns to say it.
    same = encoded.encoder_id == space.encoder.id and all(p.sample == p.caption for p in encoded.pairs)
    texts = (
        torch.from_numpy(space.with_words(encoded.embeddings, captions))
        if same
        else embed_captions(captions, space, cache, advance)
    )
    require_enough(folder, len(encoded.pairs))
    order = torch.randperm(len(encoded.pairs), generator=torch.Generator().manual_seed(0))
    held = min(512, max(FEWEST_PAIRS, int(VALIDATION_SHARE * len(order))))
    instruction = next((p.instruction for p in encoded.pairs if p.instruction), "Describe this.")

    def part(index: Tensor, name: str) -> Source:
        t = texts[index]
        chosen = [captions[i] for i in index.tolist()]
        return Source(name, t if same else embeddings[index], t, chosen, instruction)

    return part(order[held:], folder.name), part(order[:held], f"{folder.name} (validation)")


def _procedural(config: SourceConfig, space: TextSpace, cache: Path, advance: Callable[[int, str], None]) -> Family:
    count = config.procedural or 0
    modalities = [ProceduralModality.draw(config.first_seed + i, framed=config.framed) for i in range(count)]
    drawn: list[tuple[Tensor, list[Pair]]] = [m.sample(config.samples, seed=0) for m in modalities]
    captions = [p.caption for _, pairs in drawn for p in pairs]
    texts = embed_captions(captions, space, cache, advance)
    if config.as_text:
        held = max(FEWEST_PAIRS, int(VALIDATION_SHARE * len(captions)))
        train, rest = texts[held:], texts[:held]
        return Family(
            [Source("captions", train, train, captions[held:], "Describe this.")],
            [Source("captions (validation)", rest, rest, captions[:held], "Describe this.")],
            config.weight,
        )
    sources = [
        Source(m.name, x, t, [p.caption for p in pairs], INSTRUCTIONS[m.seed % len(INSTRUCTIONS)])
        for m, (x, pairs), t in zip(modalities, drawn, texts.split(config.samples), strict=True)
    ]
    held = max(1, int(VALIDATION_SHARE * count))  # whole modalities are held out, not samples
    return Family(sources[held:], sources[:held], config.weight)
