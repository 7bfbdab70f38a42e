"""The data set "tuxpaint": the stamps of a children's painting program with their English captions."""

from __future__ import annotations

import re
from pathlib import Path

from semi_plugin_image.assets import TUXPAINT
from semi_plugin_image.grouped import Picture, PictureDataset

LETTERS = "symbols/alphabets"  # 180 of 785 pictures are letters: text, not things to describe
MAX_WORDS = 12


class TuxPaint(PictureDataset):
    """About 600 photographs and drawings: animals, food, tools, vehicles, houses, coins, planets, ..."""

    name = "tuxpaint"
    licence = TUXPAINT.licence
    assets = (TUXPAINT,)

    def pictures(self) -> list[Picture]:
        """Stamps that have a caption, by path; category: the first folder ("animals", "food", ...)."""
        root = TUXPAINT.path("usr/share/tuxpaint/stamps")
        return [picture for path in sorted(root.rglob("*.png")) if (picture := _picture(path, root)) is not None]


def _picture(path: Path, root: Path) -> Picture | None:
    place, text = path.relative_to(root), path.with_suffix(".txt")
    if place.as_posix().startswith(LETTERS) or not text.exists():
        return None
    caption = clean(text.read_text(encoding="utf-8").partition("\n")[0])
    stem = re.sub(r"[\d_-]+", " ", path.stem.lower()).strip()
    keys = frozenset({f"stem {stem}"} if stem else ())
    return Picture(path, caption, place.parts[0], keys) if caption else None


def clean(line: str) -> str:
    """The first sentence in lower case without remarks: "Saturn—the second largest..." -> "saturn".

    Empty when the line describes nothing or at too great a length.
    """
    line = re.sub(r"\s*\([^)]*\)", "", line.strip())
    sentence = re.split(r"[.!?…](?:\s|$)|[—;]", line)[0]
    words = re.sub(r"[“”\"\u2018]|(?<!\w)'|'(?!\w)", "", sentence).rstrip(" .!?,:").lower().split()
    return " ".join(words) if 0 < len(words) <= MAX_WORDS and words[0] != "\u2013" else ""
