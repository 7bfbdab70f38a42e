"""The data set "ktuberling": single words in many languages, from a game for small children."""

from __future__ import annotations

import re
from pathlib import Path

from semi_plugin_speech.assets import KTUBERLING
from semi_plugin_speech.captions import LANGUAGES
from semi_plugin_speech.recorded import RecordedWords, Recording

SCENES = ("butterflies", "egypt", "moon", "pizzeria", "robot_workshop", "tv", "xmas", "tux")
"""What names begin with: where a thing stands, and no part of what is said."""
_SOUND = re.compile(r'<sound\s+name="([^"]+)"\s+file="([^"]+)"')
WORDS = {
    "moon_fallingstar": "falling star", "moon_moonwalker": "moon rover", "egypt_palmtree": "palm tree",
    "egypt_sphynx": "sphinx", "pizzeria_brocolli": "broccoli", "tv_lorry_tractor": "tractor unit",
    "tv_breakdown_lorry": "breakdown lorry", "tv_fireengine": "fire engine", "tux-bullseye": "target",
    "tux-teacup": "cup", "moon_alien": "alien", "tux-dowe": "dove", "xmas_tux": "Tux the penguin",
}  # fmt: skip
"""Where the name is misspelt or no English word."""
EXCLAMATIONS = {
    "zzz", "wow", "what", "stare", "sick", "shoot", "love", "laugh", "idea", "huh", "angry", "fly", "wanted",
}  # fmt: skip
"""Names of a penguin's moods: what is said differs from language to language."""


class KTuberling(RecordedWords):
    """1,490 recordings of single words in 22 languages, by other speakers than those of "tuxpaint-speech"."""

    name = "ktuberling"
    licence = KTUBERLING.licence
    assets = (KTUBERLING,)

    def recordings(self) -> list[Recording]:
        """The words of every language, in the order of its list."""
        root = KTUBERLING.path("usr/share/ktuberling/sounds")
        found: dict[str, Recording] = {}
        for themes in sorted(root.glob("*.soundtheme")):
            if themes.stem in LANGUAGES:
                text = re.sub(r"<!--.*?-->", "", themes.read_text(encoding="utf-8"), flags=re.DOTALL)
                for name, file in _SOUND.findall(text):
                    recording = _recording(root, name, file, LANGUAGES[themes.stem])
                    if recording is not None:
                        found.setdefault(file, recording)
        return list(found.values())


def _recording(root: Path, name: str, file: str, language: str) -> Recording | None:
    path, words = root / file, spoken(name)
    fits = words and path.is_file() and path.resolve().is_relative_to(root.resolve())
    return Recording(path, file, words, language, frozenset()) if fits else None


def spoken(name: str) -> str:
    """The English words behind the name of a sound: "xmas_comet" -> "comet"; empty where they are not known."""
    if name in WORDS:
        return WORDS[name]
    for scene in SCENES:
        name = re.sub(rf"^{scene}[_-]", "", name)
    name = re.sub(r"[\d]+$", "", name)
    return "" if name in EXCLAMATIONS or name.endswith("-tux") else re.sub(r"[_-]+", " ", name)
