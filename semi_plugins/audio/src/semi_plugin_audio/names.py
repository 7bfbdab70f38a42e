"""From the names of sound files to words."""

from __future__ import annotations

import re

_HEADS = {
    "applause": "applause", "backspin": "vinyl backspin", "bass": "bass", "bassdrum": "bass drum", "bd": "bass drum",
    "beat": "drum beat", "beep": "beep", "bell": "bell", "blip": "blip", "blup": "blup", "bong": "bong",
    "break": "drum break", "breakbeat": "drum break", "amen": "drum break", "brass": "brass", "breath": "breath",
    "burp": "burp", "buzz": "buzz", "cello": "cello", "chime": "chime", "chimes": "chimes", "choir": "choir",
    "chorus": "chorus", "cineboom": "cinematic boom", "clap": "hand clap", "clav": "claves", "cowbell": "cowbell",
    "crash": "crash cymbal", "crow": "crow", "crowd": "crowd", "cymbal": "cymbal", "dong": "dong", "door": "door",
    "drone": "drone", "explode": "explosion", "flip": "flip", "flute": "flute", "guit": "guitar", "guitar": "guitar",
    "harpsichord": "harpsichord", "hihat": "hi-hat", "hiss": "hiss", "hit": "hit", "hum": "hum", "impact": "impact",
    "kick": "kick drum", "metronome": "metronome", "organ": "organ", "pad": "synthesizer pad", "phone": "phone",
    "piano": "piano", "ping": "ping", "plip": "plip", "pluck": "plucked synthesizer", "pop": "pop",
    "printer": "3D printer", "rewind": "tape rewind", "ride": "ride cymbal", "rim": "rim shot", "robot": "robot voice",
    "roll": "drum roll", "rub": "rubbed glass", "scratch": "vinyl scratch", "shaker": "shaker",
    "sidestick": "side stick", "sn": "snare drum", "snap": "finger snap", "snaph": "finger snap", "snare": "snare drum",
    "splash": "splash cymbal", "strings": "strings", "swash": "swoosh", "sweep": "filter sweep", "swoosh": "swoosh",
    "synth": "synthesizer", "tabla": "tabla drum", "tick": "tick", "till": "cash till", "tom": "tom drum",
    "triangle": "triangle", "trumpet": "trumpet", "twang": "twang", "twip": "twip", "violin": "violin",
    "warp": "warp", "wood": "woodblock", "woosh": "woosh", "zap": "zap", "bassslap": "slap bass", "perc": "percussion",
}  # fmt: skip
_MORE = {
    "acid": "acid", "acoustic": "acoustic", "accord": "chord", "ambi": "ambient", "closed": "closed",
    "church": "church",
    "dark": "dark", "distorted": "distorted", "double": "double", "e": "electric", "elec": "electronic",
    "electric": "electric", "electro": "electronic", "fat": "fat", "filt": "filtered", "fingered": "fingered",
    "foot": "pedal", "fuzz": "fuzzy", "glass": "glass", "glitch": "glitchy", "hard": "hard", "hardcore": "hardcore",
    "harmonics": "harmonics", "harsh": "harsh", "haunted": "haunted", "heavy": "heavy", "heaven": "heavenly",
    "hi": "high", "hiphop": "hip hop", "hollow": "hollow", "horror": "horror", "house": "house",
    "industrial": "industrial",
    "jungle": "jungle", "latin": "latin", "lo": "low", "long": "long", "loop": "looped", "low": "low",
    "metalish": "metallic", "mid": "middle", "muffled": "muffled", "nasty": "nasty", "open": "open", "opened": "open",
    "pedal": "pedal", "pizzicato": "pizzicato", "rave": "rave", "raving": "raving", "slide": "sliding", "soft": "soft",
    "space": "space", "steel": "steel", "stop": "stopped", "techno": "techno", "thick": "thick", "trance": "trance",
    "wind": "wind", "voxy": "vocal", "woodsy": "woody", "punch": "punchy",
}  # fmt: skip
_LIMIT = re.compile(r"(?<=[a-z])(?=\d)|[_\W\d]+")


def described(stem: str) -> str:
    """What a file's name says in words: "drum_tom_hi_soft" -> "high soft tom drum"; empty where it says nothing.

    The first word that names a thing comes last, the words that describe it in their order; others are left out.
    """
    words = [word for word in _LIMIT.split(stem.lower()) if word]
    head = next((word for word in words if word in _HEADS), None)
    if head is None:
        return ""
    more = [_MORE[word] for word in words if word != head and _MORE.get(word, _HEADS[head]) not in _HEADS[head]]
    return " ".join([*dict.fromkeys(more), _HEADS[head]])


def group(stem: str) -> str:
    """What takes of one sound share: the name without numbers and without how hard or high it was played."""
    words = [word for word in _LIMIT.split(stem.lower()) if word]
    return "_".join(word for word in words if word not in ("hard", "soft", "hi", "mid", "lo", "low", "high"))
