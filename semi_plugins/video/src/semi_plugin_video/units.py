"""Animations of Wesnoth's units: who does what, in which frames."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from semi_plugin_video.wml import Node, expanded, parse

ACTIONS = {
    "attack_anim": "attacking", "defend": "defending itself", "death": "dying", "standing_anim": "waiting",
    "idle_anim": "waiting", "movement_anim": "moving", "healing_anim": "healing others",
    "leading_anim": "leading others", "victory_anim": "celebrating",
}  # fmt: skip
RACES = {
    "bats": "bat", "lizard": "saurian", "merman": "merfolk", "falcon": "bird", "khalifate": "human",
    "dunefolk": "human", "mechanical": "machine",
}  # fmt: skip
"""Where the game's own word is another than that of its texts."""
USUAL = 100
"""Milliseconds of a frame that does not say."""
FEWEST = 3
"""Different frames; with two, nothing is seen to happen."""


@dataclass(frozen=True)
class Animation:
    """One of a unit's."""

    unit: str
    """Its name in lower case."""
    race: str
    action: str
    weapon: str | None
    """Of an attack."""
    frames: tuple[tuple[Path, int], ...]
    """Picture and milliseconds."""
    line: frozenset[str]
    """The unit and what it may become: these look alike."""


def find_animations(core: Path) -> list[Animation]:
    """All animations of at least 3 different frames that stand in the units' files themselves, by file.

    Args:
        core: the game's folder data/core.
    """
    found: dict[tuple[tuple[Path, int], ...], Animation] = {}
    for file in sorted((core / "units").rglob("*.cfg")):
        for unit in parse(file.read_text("utf-8")).all("unit_type"):
            for animation in _of_unit(unit, core / "images"):
                found.setdefault(animation.frames, animation)  # of a hit and a miss, often the same
    return list(found.values())


def _of_unit(unit: Node, images: Path) -> Iterator[Animation]:
    name, race = unit.text("name").lower(), unit.text("race")
    line = frozenset({unit.text("id"), *(text.strip() for text in unit.text("advances_to").split(","))} - {"", "null"})
    weapons = {attack.text("name"): attack.text("description") or attack.text("name") for attack in unit.all("attack")}
    for form in (unit, *unit.all("female")):
        its_name = form.text("name").lower() or name
        for node in form.inner:
            frames = tuple(_frames(node, images)) if node.tag in ACTIONS else ()
            if its_name and race and len({path for path, _ in frames}) >= FEWEST:
                weapon = _weapon(node, weapons) if node.tag == "attack_anim" else None
                if node.tag != "attack_anim" or weapon:
                    yield Animation(its_name, RACES.get(race, race), ACTIONS[node.tag], weapon, frames, line)


def _weapon(node: Node, weapons: dict[str, str]) -> str | None:
    """What the animation's filter names, else the unit's only weapon."""
    names = [text.strip() for each in node.all("filter_attack") for text in each.text("name").split(",")]
    known = [weapons[name].lower() for name in names if weapons.get(name)]
    if known:
        return known[0]
    return next(iter(weapons.values())).lower() if len(weapons) == 1 and not names else None


def _frames(node: Node, images: Path) -> Iterator[tuple[Path, int]]:
    """Of alternatives, such as one for each direction, the first."""
    decided = False
    for inner in node.inner:
        if inner.tag == "frame":
            yield from _pictures(inner, images)
        elif inner.tag == "if" and not decided:
            decided = True
            yield from _frames(inner, images)


def _pictures(frame: Node, images: Path) -> Iterator[tuple[Path, int]]:
    listed = expanded(frame.text("image"))
    whole = frame.text("duration")
    usual = int(whole) // len(listed) if whole.isdecimal() else USUAL
    for text in listed:
        found = re.match(r"(units/[^:~{]*\.png)[^:]*(?::(\d+))?", text)
        if found and (images / found[1]).is_file():
            yield images / found[1], max(20, int(found[2]) if found[2] else usual)
