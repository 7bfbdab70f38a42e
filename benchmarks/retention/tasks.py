"""Tasks to fine-tune a language model on: what is asked, what is right, and embeddings of what is not text."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from semi.encoding import encode, load_encoded
from semi.metrics.words import words
from semi.pairs import Pair
from semi.plugins import load_dataset, load_modality
from semi.splits import Split, groups_of, splits_by_hash

Part = Literal["train", "choose", "test"]
"""`choose` is what constants of a method are chosen on; nothing else is."""
_SPLITS: dict[Part, Split] = {"train": "train", "choose": "validation", "test": "test"}


@dataclass(frozen=True)
class Example:
    """One question and its answer.

    Attributes:
        instruction: what is asked.
        answer: what is to be said, word for word.
        attributes: facts of the answer by slot; see `semi.metrics.attribute_accuracy`.
        embedding: of the sample that is asked about, float32 (d,); None: the instruction says it all.
    """

    instruction: str
    answer: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    embedding: Tensor | None = None


@dataclass(frozen=True)
class Task:
    """Where a task's examples come from: a plugin's data set through one of its encoders, or definitions."""

    dataset: str
    modality: str = "text"
    encoder: str | None = None


TASKS = {
    "text": Task("definitions"),
    "molecules": Task("molecules", "molecules", "morgan"),
    "satellite": Task("land-cover-fine", "satellite", "efficientnet-lite0"),
    "imu": Task("imu", "imu", "riann"),
}
MERGED = ("text", "molecules", "satellite")
"""The tasks that are merged; `ADDED` is added to the merge later."""
ADDED = "imu"

# WordNet's lexicographer files of nouns (lexnames(5WN)), in words; "Tops" is left out.
_TOPICS = """
    act animal artifact attribute body cognition communication event feeling food group location motive object person
    phenomenon plant possession process quantity relation shape state substance time
"""
TOPICS = dict(enumerate(_TOPICS.split(), start=4))
ASKED = "Which topic does this definition belong to? {}"
DEFINITIONS = 9000
"""How many of WordNet's definitions are used, in all splits together."""


def load_task(name: str, cache: Path, limits: Mapping[Part, int] | None = None) -> dict[Part, list[Example]]:
    """All examples of a task; splits share no scaffold, region, person or definition.

    Args:
        name: one of `TASKS`.
        cache: a folder for embeddings, which are computed once.
        limits: the most examples of a part, drawn at random but the same every time.

    Raises:
        PluginError: a plugin that the task needs is not installed.
    """
    task = TASKS[name]
    found = _definitions() if task.encoder is None else _encoded(task, cache)
    return {part: _some(examples, (limits or {}).get(part)) for part, examples in found.items()}


def batches(examples: Sequence[Example], size: int) -> Iterator[Sequence[Example]]:
    """The examples in their order, `size` at a time."""
    return (examples[start : start + size] for start in range(0, len(examples), size))


def embeddings(examples: Sequence[Example]) -> Tensor | None:
    """(n, d); None for a task of text alone."""
    rows = [example.embedding for example in examples if example.embedding is not None]
    return torch.stack(rows) if rows else None


def _some(examples: list[Example], most: int | None) -> list[Example]:
    return random.Random(0).sample(examples, len(examples))[:most]


def _encoded(task: Task, cache: Path) -> dict[Part, list[Example]]:
    modality = load_modality(task.modality)
    return {part: _part(task, part, cache, modality.instruction) for part in get_args(Part)}


def _part(task: Task, part: Part, cache: Path, instruction: str) -> list[Example]:
    folder = cache / f"{task.dataset}-{task.encoder}-{part}"
    if not (folder / "manifest.json").is_file():
        modality = load_modality(task.modality)
        pairs = load_dataset(task.dataset).pairs(_SPLITS[part])
        encode(modality, modality.encoder(task.encoder), pairs, folder, progress=_progress(folder.name))
    encoded = load_encoded(folder)
    rows = torch.from_numpy(encoded.embeddings)
    return [_example(pair, row, instruction) for pair, row in zip(encoded.pairs, rows, strict=True)]


def _example(pair: Pair, embedding: Tensor, instruction: str) -> Example:
    return Example(pair.instruction or instruction, pair.caption, pair.attributes, embedding)


def _progress(what: str) -> Callable[[int, int], None]:
    def told(done: int, total: int) -> None:
        print(f"\r{what}: {done:,} of {total:,} embedded", end="\n" if done == total else "", flush=True)

    return told


def _definitions() -> dict[Part, list[Example]]:
    """First clauses of WordNet's glosses of nouns, and their topics. The same words in another order share a split."""
    from semi_plugin_text.assets import WORDNET
    from semi_plugin_text.wordnet import UNKIND, WordNet

    synsets = WordNet(WORDNET.path("usr/share/wordnet")).synsets["noun"].values()
    clauses = [(synset.gloss.partition(";")[0].strip(' "'), TOPICS.get(synset.lexfile)) for synset in synsets]
    usable = [
        (clause, topic)
        for clause, topic in clauses
        if topic is not None and 3 <= len(clause.split()) <= 12 and not UNKIND.search(clause)
    ]
    chosen = random.Random(0).sample(usable, DEFINITIONS)
    keys = [[" ".join(sorted(set(words(clause))))] for clause, _ in chosen]
    splits = splits_by_hash(groups_of(keys), keys)
    return {
        part: [
            Example(ASKED.format(clause), topic, {"topic": topic})
            for (clause, topic), own in zip(chosen, splits, strict=True)
            if own == _SPLITS[part]
        ]
        for part in get_args(Part)
    }
