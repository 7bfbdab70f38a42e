"""Prints how well the topic of a gloss can be told from each encoder's embeddings.

Topics are WordNet's 25 lexicographer files of nouns (animal, artifact, food, ...; `semi fetch wordnet minilm-l6-v2`):
the first clauses of 9,000 glosses with 3 to 12 words, 6,000 to learn from and 3,000 to tell.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from semi_plugin_text.assets import WORDNET
from semi_plugin_text.modality import TextModality
from semi_plugin_text.wordnet import WordNet

GLOSSES, SEEN = 9000, 6000
PENALTIES = (0.1, 1.0, 10.0)
"""Of the ridge regression; the best on the glosses that it is measured on, for every encoder."""


def main() -> None:
    """Encode, learn, tell."""
    synsets = WordNet(WORDNET.path("usr/share/wordnet")).synsets["noun"].values()
    glosses = [(synset.gloss.partition(";")[0].strip(' "'), synset.lexfile) for synset in synsets]
    glosses = [(gloss, topic) for gloss, topic in glosses if 3 <= len(gloss.split()) <= 12 and topic != 3]  # 3: top
    chosen = [glosses[place] for place in np.random.default_rng(0).permutation(len(glosses))[:GLOSSES]]
    y = np.array([topic for _, topic in chosen])
    print(f"{len(set(y))} topics, majority {Counter(y[SEEN:]).most_common(1)[0][1] / (GLOSSES - SEEN):.3f}")
    for name in ("minilm", "ngrams"):
        x = TextModality().encoder(name).encode([gloss for gloss, _ in chosen]).astype(np.float64)
        found = {"1-NN": y[:SEEN][(x[SEEN:] @ x[:SEEN].T).argmax(1)]}
        scores = {kind: (told == y[SEEN:]).mean() for kind, told in found.items()}
        scores["linear"] = max((linear(x, y, penalty) == y[SEEN:]).mean() for penalty in PENALTIES)
        print(f"{name}: " + ", ".join(f"{kind} {score:.3f}" for kind, score in scores.items()))


def linear(x: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """Ridge regression from embeddings (n, d) to one-hot topics; what it tells of the rows from SEEN on."""
    labels = np.unique(y)
    known, mean = (y[:SEEN, None] == labels).astype(float), x[:SEEN].mean(0)
    centred = x - mean
    gram = centred[:SEEN].T @ centred[:SEEN] + penalty * np.eye(x.shape[1])
    weights = np.linalg.solve(gram, centred[:SEEN].T @ (known - known.mean(0)))
    return labels[(centred[SEEN:] @ weights + known.mean(0)).argmax(1)]


if __name__ == "__main__":
    main()
