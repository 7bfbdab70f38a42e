"""The data set "tuxpaint-speech": people who say what the stamps of a children's painting program show."""

from __future__ import annotations

import re
from pathlib import Path

from semi_plugin_speech.assets import TUXPAINT
from semi_plugin_speech.captions import LANGUAGES
from semi_plugin_speech.recorded import RecordedWords, Recording

MAX_WORDS = 12
_NAME = re.compile(r"(?P<stem>.+)_desc(?:_(?P<language>[a-z]+))?\.ogg")


class TuxPaintSpeech(RecordedWords):
    """7,215 recordings in 13 languages, mostly one speaker a language; the words are those of the English text."""

    name = "tuxpaint-speech"
    licence = TUXPAINT.licence
    assets = (TUXPAINT,)

    def recordings(self) -> list[Recording]:
        """Those of stamps with a text of at most 12 words, by path."""
        root = TUXPAINT.path("usr/share/tuxpaint/stamps")
        return [found for path in sorted(root.rglob("*_desc*.ogg")) if (found := _recording(path, root)) is not None]


def _recording(path: Path, root: Path) -> Recording | None:
    match = _NAME.fullmatch(path.name)
    if match is None or (match["language"] or "en") not in LANGUAGES:
        return None
    text = path.with_name(f"{match['stem']}.txt")
    words = clean(text.read_text(encoding="utf-8").partition("\n")[0]) if text.exists() else ""
    stem = re.sub(r"[\d_-]+", " ", match["stem"].lower()).strip()
    keys = frozenset({f"stem {stem}"} if stem else ())
    language = LANGUAGES[match["language"] or "en"]
    return Recording(path, path.relative_to(root).as_posix(), words, language, keys) if words else None


def clean(line: str) -> str:
    """A line in lower case without quotation marks and its last stop; empty where it is long or says nothing."""
    plain = re.sub(r"[“”\"\u2018]|(?<!\w)'|'(?!\w)", "", line.strip()).replace("—", ", ")
    words = plain.rstrip(" .!?…,:").lower().split()
    return " ".join(words) if 0 < len(words) <= MAX_WORDS and words[0][0].isalnum() else ""
