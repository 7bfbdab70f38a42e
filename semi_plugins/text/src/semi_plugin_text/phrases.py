"""The data set "wordnet": short, content-dense phrases; the caption of a phrase is the phrase."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from zlib import crc32

from semi.modality import Dataset
from semi.pairs import Pair
from semi.splits import require_split

from semi_plugin_text.assets import WORDNET
from semi_plugin_text.patterns import PATTERNS
from semi_plugin_text.vocabulary import Vocabulary
from semi_plugin_text.wordnet import UNKIND, WordNet

SEED = 0
SIZES = {"train": 64_000, "validation": 500, "test": 500}
COMPOSED = 0.625  # the rest are gloss fragments
FUNCTION_WORDS = frozenset({
    "a", "an", "the", "of", "in", "on", "with", "and", "or", "under", "near", "beside", "behind", "above", "across",
    "around", "over", "below", "inside", "between", "along", "to", "by", "for", "from", "that", "which", "is", "are",
    "be", "as", "its", "it", "their", "one", "at", "into", "onto", "having", "used", "some", "any", "without",
    "through",
})  # fmt: skip


class WordNetPhrases(Dataset):
    """64,000 training, 500 validation and 500 test phrases made from WordNet by a fixed seed."""

    name = "wordnet"
    modality = "text"
    licence = WORDNET.licence
    assets = (WORDNET,)

    def pairs(self, split: str = "train") -> list[Pair]:
        """Pairs whose sample and caption are the same phrase.

        Raises:
            InputError: no split of that name.
            AssetError: WordNet has not been fetched.
        """
        require_split(self.name, split)
        return [Pair(sample=phrase, caption=phrase) for phrase in _phrases(WORDNET.path("usr/share/wordnet"))[split]]


@cache
def _phrases(folder: Path) -> dict[str, list[str]]:
    wordnet, rng, seen = WordNet(folder), random.Random(SEED), set[str]()
    streams = ((COMPOSED, composed(Vocabulary(wordnet), rng)), (1 - COMPOSED, fragments(wordnet, rng)))
    result: dict[str, list[str]] = {split: [] for split in SIZES}
    for share, stream in streams:
        missing = {split: round(size * share) for split, size in SIZES.items()}
        for phrase in stream:
            key = content_key(phrase)
            split = split_of(key)
            if missing[split] and key not in seen:
                seen.add(key)
                missing[split] -= 1
                result[split].append(phrase)
                if not any(missing.values()):
                    break
    for phrases in result.values():
        rng.shuffle(phrases)
    return result


def content_key(phrase: str) -> str:
    """The phrase's content words, singular and sorted: phrases that share it are the same for the split."""
    words = {word.rstrip("s") for word in re.findall(r"[a-z]+", phrase.lower()) if word not in FUNCTION_WORDS}
    return " ".join(sorted(words))


def split_of(key: str) -> str:
    """The split every phrase of these content words belongs to: 1 % validation, 1 % test."""
    return {0: "validation", 1: "test"}.get(crc32(key.encode()) % 100, "train")


def composed(vocabulary: Vocabulary, rng: random.Random) -> Iterator[str]:
    """Phrases of 2-5 content words, without end."""
    patterns, weights = zip(*PATTERNS, strict=True)
    while True:
        pattern = rng.choices(patterns, weights)[0]
        yield pattern(vocabulary, rng)


def fragments(wordnet: WordNet, rng: random.Random) -> Iterator[str]:
    """First clauses of 3-9 words of the glosses, in random order; names of people and places are left out."""
    glosses = [
        synset.gloss
        for part in ("noun", "verb", "adj")
        for synset in wordnet.synsets[part].values()
        if not any(symbol == "@i" for symbol, _ in synset.pointers) and not UNKIND.search(synset.gloss)
    ]
    rng.shuffle(glosses)
    for gloss in glosses:
        phrase = first_clause(gloss)
        if 3 <= len(phrase.split()) <= 9 and re.fullmatch(r"[a-z][a-z' ,-]+[a-z]", phrase):
            yield phrase


def first_clause(gloss: str) -> str:
    """A gloss up to its first semicolon, without parentheses; up to the first comma when that is still long."""
    clause = " ".join(re.sub(r"\([^)]*\)", " ", gloss).partition(";")[0].split()).replace(" ,", ",")
    return clause if len(clause.split()) <= 9 else clause.partition(",")[0]
