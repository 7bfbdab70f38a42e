"""In what space should captions be predicted? How well a projector spells captions of data it was not trained on.

    python benchmarks/text_space.py --encoded runs/encoded --out benchmarks/results/text_space.json

A fresh projector is trained on the true embeddings of captions (half of them with noise): WordNet phrases, procedural
captions, captions of pictures. Measured is the loss of 64 captions each of other sources, from their true embeddings,
with no pair shown: what is lost before any sample is read. A space is a sentence embedding, the language model's words
(`semi.text_space`), or both. About six minutes each on one core; `--only SPACE` does a part.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from semi.artifacts import read_json, write_json
from semi.encoding import load_encoded
from semi.language_model import LanguageModel
from semi.pairs_io import read_pairs
from semi.plugins import load_modality
from semi.procedural import ProceduralModality
from semi.projector import Projector
from semi.training.loop import Schedule, train

SPACES = {
    "sentence": (True, False, 4),
    "words": (False, True, 4),
    "sentence and words": (True, True, 4),
    "sentence and words, 8 soft tokens": (True, True, 8),
}
"""Whether the sentence embedding and the words are in it, and the number of soft tokens."""
STEPS, BATCH, EVERY, NOISE = 200, 32, 100, 0.5
CAPTIONS = 64
ASKED = "Describe this."


def sources(folder: Path) -> tuple[list[tuple[list[str], int]], dict[str, list[str]]]:
    """Captions to train on with their share of a batch, and captions of what is held out."""

    def of(name: str) -> list[str]:
        return [pair.caption for pair in load_encoded(folder / name).pairs]

    def procedural(seeds: range, samples: int) -> list[str]:
        return [p.caption for s in seeds for p in ProceduralModality.draw(s).sample(samples, seed=0)[1]]

    wordnet = of("wordnet")
    random.Random(0).shuffle(wordnet)
    held = {name: of(name) for name in ("instruments-whisper", "sound-effects-whisper", "moving-pictures-net")}
    molecules = [p.caption for p in read_pairs("molecules:validation", modality=load_modality("molecules")).pairs]
    held |= {"wordnet": wordnet[:500], "procedural": procedural(range(500_000, 500_064), 1), "molecules": molecules}
    some = {name: random.Random(0).sample(found, CAPTIONS) for name, found in held.items()}
    return [(wordnet[500:], 16), (procedural(range(240), 96), 10), (of("tuxpaint") + of("emoji"), 6)], some


def spelled(
    model: LanguageModel, embed: Callable[[list[str]], Tensor], width: int, tokens: int, folder: Path
) -> list[dict[str, float]]:
    """Held-out losses after every EVERY steps."""
    parts, held = sources(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        projector = Projector(width, 2048, model.d_lm, tokens)

    def warm(g: torch.Generator) -> Tensor:
        captions = drawn([(parts[0][0], 4 * BATCH)], g)
        soft, target = projector.soft(embed(captions)), model.embed_parts(captions, tokens)
        return (soft - target).square().sum() / target.square().sum()

    def loss(g: torch.Generator) -> Tensor:
        captions = drawn(parts, g)
        x = embed(captions)
        strength = NOISE * torch.rand(len(x), 1, generator=g) * (torch.rand(len(x), 1, generator=g) < 0.5)
        noise = torch.randn(x.shape, generator=g) * x.norm(dim=1, keepdim=True) / x.shape[1] ** 0.5
        nats, counts = model.caption_loss(projector.soft(x + strength * noise), [ASKED] * len(captions), captions)
        return nats.sum() / counts.sum()

    curve: list[dict[str, float]] = []

    @torch.no_grad()
    def validate() -> float:
        found = {}
        for name, captions in held.items():
            nats, counts = model.caption_loss(projector.soft(embed(captions)), [ASKED] * CAPTIONS, captions)
            found[name] = round(float(nats.sum() / counts.sum()), 3)
        curve.append(found)
        print(found, flush=True)
        return sum(found.values()) / len(found)

    train(projector, warm, Schedule(300, lr=1e-3, warmup=20))
    train(projector, loss, Schedule(STEPS, lr=1e-3, warmup=50, validate_every=EVERY), validate=validate)
    return curve


def drawn(parts: list[tuple[list[str], int]], g: torch.Generator) -> list[str]:
    """Captions of every source, as many as its share."""
    return [found[int(torch.randint(len(found), (), generator=g))] for found, share in parts for _ in range(share)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoded", type=Path, required=True, help="folders that the recipes name")
    parser.add_argument("--only", choices=SPACES, nargs="+", default=list(SPACES))
    parser.add_argument("--out", type=Path, required=True, help="parts of earlier runs in it are kept")
    options = parser.parse_args()
    model, encoder = LanguageModel.load("smollm2-135m"), load_modality("text").encoder()
    for name in options.only:
        meaning, words, tokens = SPACES[name]

        def embed(captions: list[str], meaning: bool = meaning, words: bool = words) -> Tensor:
            parts = [torch.from_numpy(encoder.encode(captions))] if meaning else []
            return torch.cat([*parts, *([model.words(captions)] if words else [])], dim=1)

        width = encoder.width * meaning + model.d_lm * words
        found = read_json(options.out) if options.out.is_file() else {}
        found |= {"steps": STEPS, "every": EVERY, "captions": CAPTIONS, "torch": torch.__version__}
        curves = found.get("curves", {}) | {name: spelled(model, embed, width, tokens, options.encoded)}
        write_json(options.out, found | {"curves": curves})


if __name__ == "__main__":
    main()
