"""Reads WordNet's database files (man pages wndb(5WN), cntlist(5WN)); data only, nothing is executed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PARTS = {"noun": "1", "verb": "2", "adj": "3"}
PLAIN = re.compile(r"[a-z]{3,}(_[a-z]{2,})?$")  # one or two words, no names, no digits
UNKIND = re.compile(
    r"slur|offensive|obscen|vulgar|disparag|derogat|slang|sexual|genital|prostitut|racis|excrement|penis|breast"
)


@dataclass(frozen=True)
class Synset:
    """A set of synonyms: its words as spelt, its lexicographer file (wnintro: 05 = noun.animal), pointers and gloss."""

    words: tuple[str, ...]
    lexfile: int
    pointers: tuple[tuple[str, str], ...]
    gloss: str


@dataclass(frozen=True)
class Word:
    """A lemma with its most frequent meaning."""

    lemma: str
    synset: str
    lexfile: int
    count: int
    """How often this meaning was tagged in WordNet's corpus."""


class WordNet:
    """The synsets of nouns, verbs and adjectives in one folder of database files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._counts = self._read_counts()
        self._index = {part: self._lines(f"index.{part}") for part in PARTS}
        self.synsets = {part: dict(self._read_synsets(part)) for part in PARTS}

    def words(self, part: str) -> list[Word]:
        """Plain lower-case words of a part of speech by their first meaning, without unkind ones, in file order."""
        synsets, found = self.synsets[part], []
        for line in self._index[part]:
            fields = line.split()
            lemma, senses = fields[0], fields[-int(fields[2]) :]
            first = synsets[senses[0]]
            # index files are lower case throughout: the data file knows that "turkey" is a bird and "Chile" a country
            spelt = {word.split("(")[0] for word in first.words}
            if lemma in spelt and PLAIN.match(lemma) and not any(UNKIND.search(synsets[s].gloss) for s in senses):
                count = self._counts.get((lemma, PARTS[part]), 0)
                found.append(Word(lemma.replace("_", " "), senses[0], first.lexfile, count))
        return found

    def below(self, lemma: str) -> set[str]:
        """Synsets of all kinds of the noun's first meaning (its hyponyms, however deep)."""
        fields = next(line for line in self._index["noun"] if line.startswith(f"{lemma} ")).split()
        stack, seen = [fields[-int(fields[2])]], set[str]()
        while stack:
            offset = stack.pop()
            if offset not in seen:
                seen.add(offset)
                stack += [target for symbol, target in self.synsets["noun"][offset].pointers if symbol == "~"]
        return seen

    def irregular(self, part: str) -> dict[str, str]:
        """Inflected form -> base form."""
        rows = (line.split() for line in self._lines(f"{part}.exc"))
        return {row[0]: row[1] for row in rows}

    def _lines(self, name: str) -> list[str]:
        text = (self._folder / name).read_text(encoding="latin-1")
        return [line for line in text.split("\n") if line and not line.startswith("  ")]  # two spaces: the licence

    def _read_counts(self) -> dict[tuple[str, str], int]:
        counts = {}
        for line in self._lines("cntlist.rev"):
            key, number, count = line.split()
            if number == "1":
                lemma, rest = key.split("%")
                counts[lemma, rest[0].replace("5", "3")] = int(count)  # 5: satellite adjective
        return counts

    def _read_synsets(self, part: str) -> Iterator[tuple[str, Synset]]:
        for line in self._lines(f"data.{part}"):
            data, _, gloss = line.partition(" | ")
            fields = data.split()
            n_words = int(fields[3], 16)
            words = tuple(fields[4 : 4 + 2 * n_words : 2])
            start = 4 + 2 * n_words
            end = start + 1 + 4 * int(fields[start])
            pointers = tuple(zip(fields[start + 1 : end : 4], fields[start + 2 : end : 4], strict=True))
            yield fields[0], Synset(words, int(fields[1]), pointers, gloss.strip())
