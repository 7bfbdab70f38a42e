"""The encoder "ngrams": which letters stand side by side, in 2048 numbers. No weights, no torch."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

WIDTH = 2048
LENGTHS = (3, 4, 5)


class NGrams:
    """Random projection of counts of character n-grams, (n, 2048) of length 1.

    Every whole word, and every 3 to 5 letters of a word between its "<" and ">", adds 1 + log(its count) times a vector
    of 2048 signs that only a hash of these letters decides. Vectors of different n-grams are nearly orthogonal
    (Achlioptas, J. Comput. Syst. Sci. 66, 671 (2003)), so inner products are near those of the counts themselves. Words
    that share letters are alike ("ester", "polyester"); synonyms are not. Weights of rarity (inverse document
    frequencies of 6,000 glosses) were tried: worse, see the README.
    """

    id = "text/ngrams@1"
    width = WIDTH

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, 2048), float32, of n strings; an empty list gives (0, 2048)."""
        result = np.zeros((len(samples), WIDTH), np.float32)
        for row, text in zip(result, samples, strict=True):
            for gram, count in ngrams(text).items():
                row += np.float32(1 + np.log(count)) * signs(gram)
            row /= max(float(np.linalg.norm(row)), 1e-6)
        return result


def ngrams(text: str) -> Counter[str]:
    """How often each n-gram and each whole word occurs; the latter begins with a blank."""
    found: Counter[str] = Counter()
    for word in text.casefold().split():
        marked = f"<{word}>"
        found[f" {word}"] += 1
        for length in LENGTHS:
            found.update(marked[start : start + length] for start in range(len(marked) - length + 1))
    return found


@lru_cache(maxsize=16_384)  # 32 MB; the commonest n-grams of English
def signs(gram: str) -> np.ndarray:
    """The n-gram's own vector (2048,) of -1 and 1, int8."""
    bits = np.unpackbits(
        np.frombuffer(hashlib.shake_128(gram.encode("utf-8", "surrogatepass")).digest(WIDTH // 8), np.uint8)
    )
    vector = bits.astype(np.int8) * 2 - 1
    vector.flags.writeable = False
    return vector
