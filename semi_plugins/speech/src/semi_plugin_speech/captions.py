"""Captions of recorded speech from facts: phrasings that a hash of the recording's place chooses among."""

from __future__ import annotations

import hashlib
import random

import numpy as np

from semi_plugin_speech.pitch import pitch

LANGUAGES = {
    "be": "Belarusian", "bg": "Bulgarian", "ca": "Catalan", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "es": "Spanish", "fi": "Finnish", "fr": "French", "ga": "Irish", "gl": "Galician",
    "it": "Italian", "lt": "Lithuanian", "ml": "Malayalam", "nds": "Low German", "nl": "Dutch", "pt": "Portuguese",
    "ro": "Romanian", "ru": "Russian", "sl": "Slovenian", "sr": "Serbian", "sv": "Swedish", "uk": "Ukrainian",
    "wa": "Walloon",
}  # fmt: skip

PHRASINGS = (
    ("{words}, spoken in {language} by a {voice}", "{words}, spoken in {language}"),
    ("{language} speech, {voice}: {words}", "{language} speech: {words}"),
    ("a {voice} says {words} in {language}", "someone says {words} in {language}"),
    ("{voice} speaking {language}: {words}", "speaking {language}: {words}"),
    ("in {language}, a {voice} says {words}", "in {language}: {words}"),
)
"""With the voice and without."""
OFTEN = 0.6
"""How often the voice is told where it is known."""
LOW, HIGH = 165.0, 185.0
"""Hz: the lower limit of a high voice and the upper one of a low voice leave the voices between them alone."""
PERIODIC = 0.6
"""How much like itself a frame has to be, one period later, to have a pitch."""


def voice_of(signal: np.ndarray, rate: int) -> str | None:
    """Low or high voice, by the median pitch of a signal (T,) at about 16 kHz; None where it is neither."""
    found, periodic = pitch(signal, rate)
    voiced = found[periodic > PERIODIC]
    if len(voiced) < 5:
        return None
    median = float(np.median(voiced))
    return "low voice" if median < LOW else "high voice" if median > HIGH else None


def caption(key: str, words: str, language: str, voice: str | None) -> tuple[str, dict[str, str]]:
    """A caption and the slots behind it, each of which stands in the caption word for word.

    The words are no slot: hardly any are said twice, so there is nothing to count.

    Args:
        key: decides the choices; the same key always gives the same caption.
        words: what is said, in English.
        language: in which it is said.
        voice: from `voice_of`.
    """
    rng = random.Random(hashlib.sha256(key.encode()).digest())
    with_voice, without = rng.choice(PHRASINGS)
    slots = {"language": language}
    if rng.random() < OFTEN and voice is not None:
        slots["voice"] = voice
        return with_voice.format(words=words, **slots), slots
    return without.format(words=words, **slots), slots
