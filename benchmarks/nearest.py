"""Facts right without a language model: what it has to beat.

    python benchmarks/nearest.py studies/goals.yaml --data runs/goals --out benchmarks/results/nearest.json

For every target and seed of a study, on its held-out samples: the caption of the pair that retrieval puts first, what
the eight first ones state most often (weighted by rank), and ridge regression on the facts that the captions state. The
last two know which words are facts, which no method of semi is told.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from semi.artifacts import write_json
from semi.methods import Support, start
from semi.metrics import attribute_accuracy, vocabulary
from semi.pairs import Pair
from semi.pairs_io import draw_shots
from semi.ridge import Ridge
from semi.study.config import EfficiencyConfig
from semi.study.data import Target, load_target, prepare
from semi.study.measure import foundation_in_memory
from semi.study.run import ENCODED
from semi.yaml_config import read_config

Say = Callable[[Sequence[Pair], Tensor, Tensor, Tensor], list[str]]
"""Support, its aligned embeddings (k, d), those of new samples (q, d), their neighbours (q, 8): a text for each."""


def nearest(support: Sequence[Pair], z: Tensor, query: Tensor, found: Tensor) -> list[str]:
    """The caption of the first neighbour."""
    return [support[i].caption for i in found[:, 0].tolist()]


def vote(support: Sequence[Pair], z: Tensor, query: Tensor, found: Tensor) -> list[str]:
    """Of every slot the value with the most neighbours, the first counting 1, the second 1/2, ..."""
    texts = []
    for row in found.tolist():
        votes: dict[str, dict[str, float]] = {}
        for rank, i in enumerate(row, start=1):
            for slot, value in support[i].attributes.items():
                of_slot = votes.setdefault(slot, {})
                of_slot[value] = of_slot.get(value, 0) + 1 / rank
        texts.append(", ".join(max(of_slot, key=of_slot.__getitem__) for of_slot in votes.values()))
    return texts


def regression(support: Sequence[Pair], z: Tensor, query: Tensor, found: Tensor) -> list[str]:
    """Of every slot the value that ridge regression on the values, one-hot, makes largest."""
    said: list[list[str]] = [[] for _ in query]
    for slot in sorted({slot for pair in support for slot in pair.attributes}):
        values = sorted({pair.attributes[slot] for pair in support if slot in pair.attributes})
        ones = torch.tensor([[float(pair.attributes.get(slot) == value) for value in values] for pair in support])
        for texts, best in zip(said, Ridge.fit(z, ones).predict(query).argmax(1).tolist(), strict=True):
            texts.append(values[best])
    return [", ".join(texts) for texts in said]


WAYS: dict[str, Say] = {"nearest caption": nearest, "vote of eight": vote, "ridge on facts": regression}


def measure(foundation: str, target: Target, shots: int, seed: int) -> dict[str, float]:
    """Share of facts right by each way."""
    model = foundation_in_memory(foundation)
    support = draw_shots(target.train, shots, seed)
    x, query = (torch.stack([torch.from_numpy(p.sample) for p in pairs]) for pairs in (support, target.held_out))
    texts = model.embed_texts([pair.caption for pair in support])
    parts = Support(x, texts, model.embed_texts([target.modality.instruction]))
    begun = start("semi", parts, model.projector, model.hypernetwork(None), seed=seed)
    z, aligned = begun.alignment(x), begun.alignment(query)
    found = begun.retrieval.nearest(aligned, 8)
    facts = [pair.attributes for pair in target.held_out]
    values = vocabulary(facts)
    return {
        name: round(attribute_accuracy(say(support, z, aligned, found), facts, values) or 0.0, 4)
        for name, say in WAYS.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="its configuration")
    parser.add_argument("--data", type=Path, required=True, help="its folder, for what is encoded there")
    parser.add_argument("--shots", type=int, default=32)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    config = read_config(options.study, EfficiencyConfig)
    found = {}
    for named in config.targets:
        target = load_target(prepare(named, options.data / ENCODED, lambda done, total, what: None))
        rows = {str(seed): measure(config.foundations[0], target, options.shots, seed) for seed in config.seeds}
        means = {way: round(sum(row[way] for row in rows.values()) / len(rows), 4) for way in WAYS}
        found[named.name] = {"mean": means, "seeds": rows}
        print(named.name, means, flush=True)
    write_json(options.out, {"shots": options.shots, "facts_right": found})


if __name__ == "__main__":
    main()
