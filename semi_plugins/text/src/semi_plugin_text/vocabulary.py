"""Weighted word lists drawn from WordNet, and the little English grammar that phrases need."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import accumulate

from semi_plugin_text.wordnet import Word, WordNet

# Lexicographer files, wnintro(5WN)
ACT, ANIMAL, ARTIFACT, ATTRIBUTE, BODY, COMMUNICATION, EVENT, FEELING, FOOD = 4, 5, 6, 7, 8, 10, 11, 12, 13
OBJECT, PERSON, PHENOMENON, PLANT, PROCESS, SHAPE, SUBSTANCE, TIME = 17, 18, 19, 20, 22, 25, 27, 28
VERB_BODY, VERB_EATING, VERB_CONTACT, VERB_MOTION = 29, 34, 35, 38

NUMBERS = (
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "several", "many", "few", "some",
)  # fmt: skip
MANNER = (
    "fast", "slowly", "quickly", "quietly", "loudly", "gently", "together", "alone", "upward", "downward", "backward",
    "forward", "away", "sideways", "smoothly", "suddenly", "steadily", "repeatedly", "calmly", "carefully", "lightly",
    "heavily", "briefly", "freely",
)  # fmt: skip
PLACES = (
    "in", "on", "under", "near", "beside", "behind", "above", "across", "around", "over", "below", "inside",
    "between", "along",
)  # fmt: skip
# Structure words that WordNet lists among rarer meanings.
STATES = (
    "liquid", "solid", "crystalline", "volatile", "aromatic", "cyclic", "organic", "inorganic", "acidic", "basic",
    "neutral", "soluble", "oily", "waxy", "toxic", "synthetic", "natural", "saturated", "unsaturated", "linear",
    "branched", "small", "large", "simple", "complex", "heavy", "light",
)  # fmt: skip
MOIETIES = (
    "ring", "chain", "double bond", "triple bond", "long chain", "short chain", "side chain", "branched chain",
    "aromatic ring", "five-membered ring", "six-membered ring", "fused rings", "two rings", "three rings",
    "one oxygen", "two nitrogens", "many carbons",
)  # fmt: skip

# Say too little, or read badly after an article.
UNUSUAL = frozenset({
    "thing", "entity", "object", "person", "someone", "something", "artifact", "organism", "own", "another", "other",
    "such", "same", "many", "few", "several", "first", "last", "next", "former", "latter", "only", "certain", "sure",
    "able",
})  # fmt: skip


class Bag:
    """Words drawn at random: `rare` of the draws fall on words never tagged, the rest go by count^0.6."""

    def __init__(self, words: Iterable[Word], rare: float = 0.15) -> None:
        kept = [word for word in words if word.lemma not in UNUSUAL]
        self.lemmas = [word.lemma for word in kept]
        tagged = sum(word.count**0.6 for word in kept)
        each = rare / (1 - rare) * tagged / max(1, sum(not word.count for word in kept))
        self._weights = list(accumulate(word.count**0.6 or each for word in kept))

    def draw(self, rng: random.Random) -> str:
        """One lemma."""
        return rng.choices(self.lemmas, cum_weights=self._weights)[0]


class Vocabulary:
    """Bags of nouns by topic, adjectives and verbs, and their inflections."""

    def __init__(self, wordnet: WordNet) -> None:
        nouns, verbs, adjectives = wordnet.words("noun"), wordnet.words("verb"), wordnet.words("adj")

        def filed(*lexfiles: int, rare: float = 0.15) -> Bag:
            return Bag((word for word in nouns if word.lexfile in lexfiles), rare)

        def kinds(*roots: str, rare: float = 0.25) -> Bag:
            wanted = set().union(*map(wordnet.below, roots))
            return Bag((word for word in nouns if word.synset in wanted), rare)

        def doing(*lexfiles: int) -> Bag:
            return Bag(word for word in verbs if word.lexfile in lexfiles)

        self.animal, self.person, self.plant = filed(ANIMAL), filed(PERSON), filed(PLANT)
        self.food, self.body, self.artifact = filed(FOOD), filed(BODY), filed(ARTIFACT)
        self.thing = filed(ARTIFACT, ANIMAL, PLANT, FOOD, BODY, OBJECT, SHAPE)
        self.idea = filed(ACT, ATTRIBUTE, COMMUNICATION, EVENT, FEELING, TIME, PHENOMENON, PROCESS)
        self.nature = filed(PHENOMENON, PROCESS, EVENT)
        self.substance = filed(SUBSTANCE)
        self.compound = kinds("chemical_compound", rare=0.6)
        self.chemical = kinds("chemical_element", "chemical_compound", "chemical_group", rare=0.5)
        self.group = kinds("chemical_group", "chemical_element", rare=0.4)
        self.terrain = kinds("geological_formation", "body_of_water", "land", "region", "biome")
        self.sky = kinds("celestial_body", "atmospheric_phenomenon", "light")
        self.vehicle, self.building = kinds("vehicle"), kinds("structure")
        self.clothing, self.tool = kinds("clothing"), kinds("device")
        self.move, self.bodily = doing(VERB_MOTION), doing(VERB_BODY, VERB_EATING, VERB_CONTACT, VERB_MOTION)
        self._adjective = Bag(_descriptive(adjectives, wordnet))
        self._colour = kinds("chromatic_color", "achromatic_color")
        self._plurals = _real_plurals({base: form for form, base in wordnet.irregular("noun").items()})
        self._ings = {base: form for form, base in wordnet.irregular("verb").items() if form.endswith("ing")}

    def quality(self, rng: random.Random) -> str:
        """An adjective; one in five is a colour."""
        return (self._colour if rng.random() < 0.2 else self._adjective).draw(rng).removesuffix("ness")

    def plural(self, noun: str) -> str:
        """ "small bird" -> "small birds"."""
        first, _, last = noun.rpartition(" ")
        return f"{first} {self._plural(last)}".strip()

    def _plural(self, noun: str) -> str:
        if noun in self._plurals:
            return self._plurals[noun]
        if noun.endswith(("s", "x", "z", "ch", "sh")):
            return noun + "es"
        return noun[:-1] + "ies" if re.search(r"[^aeiou]y$", noun) else noun + "s"

    def ing(self, verb: str) -> str:
        """ "run" -> "running"; particles stay: "walk around" -> "walking around"."""
        base, _, particle = verb.partition(" ")
        if base in self._ings:
            form = self._ings[base]
        elif base.endswith("ie"):
            form = base[:-2] + "ying"
        else:
            form = re.sub(r"(?<![eoy])e$", "", base) + "ing"
        return f"{form} {particle}".strip()


def article(phrase: str) -> str:
    """ "old dog" -> "an old dog"; a plural stays bare."""
    if re.search(r"[^aius]s$", phrase):
        return phrase
    return ("an " if phrase[0] in "aeiou" and not phrase.startswith(("uni", "eu", "one", "use")) else "a ") + phrase


def _descriptive(adjectives: list[Word], wordnet: WordNet) -> Iterator[Word]:
    """Adjectives; those that name a value of an attribute (pointer =), or are similar to one (&), count 20 times."""
    synsets = wordnet.synsets["adj"]
    heads = {offset for offset, synset in synsets.items() if any(symbol == "=" for symbol, _ in synset.pointers)}
    for word in adjectives:
        similar = {target for symbol, target in synsets[word.synset].pointers if symbol == "&"}
        yield replace(word, count=20 * word.count) if similar & heads or word.synset in heads else word


def _real_plurals(forms: dict[str, str]) -> dict[str, str]:
    """Irregular plurals of real use: WordNet's list also has archaic ones of regular nouns, which end in "s" anyway."""
    return {base: form for base, form in forms.items() if not form.endswith("s") or base.endswith(("f", "fe", "sis"))}
