"""Captions of sounds from what they are of and what can be measured: phrasings that a hash chooses among."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping

import numpy as np
from semi_plugin_speech.mel import power_spectrum
from semi_plugin_speech.pitch import pitch
from semi_plugin_speech.sound import Sound

RATE = 16_000
LENGTHS = (0.6, 2.5)
"""Seconds: shorter is short, longer long."""
PITCHES = (150.0, 600.0)
"""Hz: below is low-pitched, above high-pitched."""
TONES = (700.0, 3000.0)
"""Hz, of the centre of the spectrum: below is dark, above bright."""
PERIODIC = 0.8
"""How much like itself a sound has to be, one period later, to have a pitch."""
_UNCOUNTED = ("applause", "brass", "breath", "hiss", "noise", "percussion", "rubbed glass")
OFTEN, KIND_OFTEN = 0.6, 0.75
"""How often something measured is told, and the kind."""
PHRASINGS = (
    "sound of {a}{sound}{details}", "{sound}{details}", "{details}: {sound}", "{details} {sound}",
    "recording of {a}{sound}{details}",
)  # fmt: skip


def measured(sound: Sound) -> dict[str, str]:
    """Length, pitch and tone by slot, as far as they are out of the ordinary."""
    signal = sound.at(RATE)
    found = {"length": _word(sound.seconds, LENGTHS, "short", "long")}
    hertz, periodic = pitch(signal, RATE, 40, 2000)
    if (voiced := hertz[periodic > PERIODIC]).size >= 0.5 * hertz.size > 0:
        found["pitch"] = _word(float(np.median(voiced)), PITCHES, "low-pitched", "high-pitched")
    power = power_spectrum(np.pad(signal, (0, max(0, 512 - len(signal)))), 512, 256).sum(0)
    if power.sum() > 0:
        centre = float(power @ np.fft.rfftfreq(512, 1 / RATE) / power.sum())
        found["tone"] = _word(centre, TONES, "dark", "bright")
    return {slot: value for slot, value in found.items() if value}


def caption(key: str, sound: str, kind: str, facts: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """A caption and the slots behind it, each of which stands in the caption word for word.

    Args:
        key: decides the choices; the same key always gives the same caption.
        sound: what is heard, always told.
        kind: of what kind that is.
        facts: from `measured`.
    """
    rng = random.Random(hashlib.sha256(key.encode()).digest())
    slots = {"sound": sound} | {slot: value for slot, value in facts.items() if rng.random() < OFTEN}
    phrasing = rng.choice(PHRASINGS)
    told = [value for slot, value in slots.items() if slot != "sound"]
    rng.shuffle(told)
    if not told:
        phrasing = phrasing.replace("{details}: ", "").replace("{details} ", "").replace("{details}", "")
    elif phrasing.endswith("{details}"):
        phrasing = phrasing.replace("{details}", ", {details}")
    text = phrasing.format(a=_article(sound), sound=sound, details=", ".join(told))
    if kind in text:  # a jazz guitar is a guitar
        slots["kind"] = kind
    elif rng.random() < KIND_OFTEN:
        slots["kind"] = kind
        text = f"{text}, {kind}" if ":" in text or rng.random() < 0.5 else f"{kind}: {text}"
    return text, slots


def _article(sound: str) -> str:
    """A plural and what cannot be counted stay bare."""
    if re.search(r"[^aius]s$", sound) or sound.endswith(_UNCOUNTED):
        return ""
    return "an " if sound[0] in "aeiou" else "a "


def _word(value: float, limits: tuple[float, float], below: str, above: str) -> str:
    return below if value < limits[0] else above if value > limits[1] else ""
