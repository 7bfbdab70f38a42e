"""Words of a caption, as caption metrics count them."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+(?:[-'\u2019]\w+)*")


def words(text: str) -> list[str]:
    """Lower-case words without punctuation; "ring-shaped" and "dog's" are one word each."""
    return _WORD.findall(text.lower())
