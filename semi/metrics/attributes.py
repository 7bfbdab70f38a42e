"""How many of the facts of a sample its text states."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence


def vocabulary(attributes: Iterable[Mapping[str, str]]) -> dict[str, set[str]]:
    """All values of each slot."""
    values: dict[str, set[str]] = {}
    for row in attributes:
        for slot, value in row.items():
            values.setdefault(slot, set()).add(value)
    return values


def attribute_accuracy(
    generated: Sequence[str], attributes: Sequence[Mapping[str, str]], values: Mapping[str, set[str]]
) -> float | None:
    """Share of true attributes that the text states, and states alone.

    An attribute counts if its value stands in the text as whole words and no other value of the slot does (values that
    lie inside a longer one that was found, as "acid" in "amino acid", do not count against it). None without any.

    Args:
        values: per slot, all values a text might state; from `vocabulary`.
    """
    right = total = 0
    for text, truth in zip(generated, attributes, strict=True):
        for slot, value in truth.items():
            total += 1
            right += _mentioned(text, values.get(slot, set()) | {value}) == {value}
    return right / total if total else None


def _mentioned(text: str, values: Iterable[str]) -> set[str]:
    """The values in the text as whole words, without those inside a longer one that was found."""
    rest, found = text.lower(), set()
    for value in sorted(values, key=len, reverse=True):
        pattern = rf"(?<!\w){re.escape(value.lower())}(?!\w)"
        if re.search(pattern, rest):
            found.add(value)
            rest = re.sub(pattern, "\N{NULL}", rest)
    return found
