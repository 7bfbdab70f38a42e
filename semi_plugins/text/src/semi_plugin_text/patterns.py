"""How words are joined to phrases. Each pattern: (vocabulary, rng) -> phrase of 2-5 content words."""

from __future__ import annotations

import random
from collections.abc import Callable

from semi_plugin_text.vocabulary import MANNER, MOIETIES, NUMBERS, PLACES, STATES, Bag, Vocabulary, article

Pattern = Callable[[Vocabulary, random.Random], str]


def described(v: Vocabulary, rng: random.Random) -> str:
    """A small yellow bird."""
    adjectives = [v.quality(rng) for _ in range(rng.choice((1, 1, 2)))]
    phrase = " ".join([*adjectives, v.thing.draw(rng)])
    return rng.choice((phrase, article(phrase), article(phrase)))


def several(v: Vocabulary, rng: random.Random) -> str:
    """Three red apples."""
    return f"{rng.choice(NUMBERS)} {v.quality(rng)} {v.plural(v.thing.draw(rng))}"


def listed(v: Vocabulary, rng: random.Random) -> str:
    """Rocky coast, cold wind, and sheep."""
    bags = rng.sample((v.terrain, v.animal, v.plant, v.building, v.nature, v.sky, v.substance, v.person), 3)

    def item(bag: Bag) -> str:
        if rng.random() < 0.4:
            return f"{v.quality(rng)} {bag.draw(rng)}"
        return rng.choice((bag.draw(rng), v.plural(bag.draw(rng))))

    items = [item(bag) for bag in bags]
    return rng.choice(("{}, {} and {}", "{}, {}, and {}", "{}, {}, {}", "{} with {}, {}", "{} and {}")).format(*items)


def compound(v: Vocabulary, rng: random.Random) -> str:
    """A liquid ester with a ring."""
    state, kind, part = rng.choice(STATES), v.compound.draw(rng), _moiety(v, rng)
    forms = (
        f"{article(f'{state} {kind}')} with {part}",
        f"{article(kind)} with {part}",
        f"{article(kind)} with {part} and {_moiety(v, rng)}",
        f"{state} {kind}, {part}",
        f"{part} and {_moiety(v, rng)}, {state} {kind}",
        f"{kind}, {state} and {v.quality(rng)}",
    )
    return rng.choice(forms)


def _moiety(v: Vocabulary, rng: random.Random) -> str:
    part = rng.choice((rng.choice(MOIETIES), v.group.draw(rng)))
    return part if part.startswith(("one ", "two ", "three ", "many ")) else article(part)


def mixture(v: Vocabulary, rng: random.Random) -> str:
    """Sulfur dissolved in warm water."""
    link = rng.choice(("dissolved in", "mixed with", "and", "or", "in", "from", "reacting with", "covered with"))
    return f"{v.chemical.draw(rng)} {link} {v.quality(rng)} {v.substance.draw(rng)}"


def moving(v: Vocabulary, rng: random.Random) -> str:
    """Three dogs running fast."""
    who = rng.choice((v.person, v.animal, v.person, v.vehicle)).draw(rng)
    subject = rng.choice((article(who), f"{rng.choice(NUMBERS)} {v.plural(who)}"))
    action = v.ing((v.move if rng.random() < 0.6 else v.bodily).draw(rng))
    where = f"{rng.choice(PLACES)} {article(v.terrain.draw(rng))}"
    forms = (f"{subject} {action} {rng.choice(MANNER)}", f"{subject} {action} {where}", f"{subject} {action}")
    return rng.choice(forms)


def action(v: Vocabulary, rng: random.Random) -> str:
    """Walking slowly upward; lifting the left arm."""
    verb, part = v.ing(v.bodily.draw(rng)), v.body.draw(rng)
    forms = (
        f"{verb} {rng.choice(MANNER)} and {v.ing(v.move.draw(rng))}",
        f"{verb} with {rng.choice(('the left', 'the right', 'one', 'a'))} {part}",
        f"{verb} {rng.choice(PLACES)} {article(v.building.draw(rng))}",
        f"{verb} {article(v.tool.draw(rng))} {rng.choice(MANNER)}",
    )
    return rng.choice(forms)


def placed(v: Vocabulary, rng: random.Random) -> str:
    """A wooden boat near an island."""
    what = f"{v.quality(rng)} {v.thing.draw(rng)}"
    where = rng.choice((v.terrain, v.building, v.terrain, v.artifact, v.plant, v.body)).draw(rng)
    return f"{rng.choice((article(what), what))} {rng.choice(PLACES)} {rng.choice((article(where), 'the ' + where))}"


def landscape(v: Vocabulary, rng: random.Random) -> str:
    """Dry grassland with scattered trees; a bright star in a nebula."""
    first, second = v.terrain.draw(rng), rng.choice((v.terrain, v.plant, v.sky, v.building, v.nature)).draw(rng)
    link = rng.choice(("with", "and", "near", "below", "covered with", "beside", "between"))
    return f"{v.quality(rng)} {first} {link} {rng.choice((second, v.plural(second), article(second)))}"


def attributed(v: Vocabulary, rng: random.Random) -> str:
    """A coat, grey and heavy; an actor in a hat."""
    thing, first, second = v.thing.draw(rng), v.quality(rng), v.quality(rng)
    who, worn = article(v.person.draw(rng)), rng.choice((v.clothing, v.tool, v.food)).draw(rng)
    forms = (f"{article(thing)}, {first} and {second}", f"{who} with {article(worn)}", f"{who} in {first} {worn}")
    return rng.choice(forms)


def abstract(v: Vocabulary, rng: random.Random) -> str:
    """The sudden end of a journey."""
    head, of = v.idea.draw(rng), rng.choice((v.idea, v.thing, v.person, v.nature)).draw(rng)
    forms = (f"the {v.quality(rng)} {head} of {article(of)}", f"{v.quality(rng)} {head}, {of}", f"{head} and {of}")
    return rng.choice(forms)


PATTERNS: tuple[tuple[Pattern, float], ...] = (
    (described, 6), (several, 2), (listed, 4), (compound, 4), (mixture, 2), (moving, 4),
    (action, 3), (placed, 4), (landscape, 4), (attributed, 3), (abstract, 2),
)  # fmt: skip
