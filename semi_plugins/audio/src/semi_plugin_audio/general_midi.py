"""General MIDI's instruments in words."""

from __future__ import annotations

_NAMES = (
    "grand piano", "bright piano", "electric grand piano", "honky-tonk piano", "electric piano", "electric piano",
    "harpsichord", "clavinet", "celesta", "glockenspiel", "music box", "vibraphone", "marimba", "xylophone",
    "tubular bells", "dulcimer", "drawbar organ", "percussive organ", "rock organ", "church organ", "reed organ",
    "accordion", "harmonica", "bandoneon", "nylon-string guitar", "steel-string guitar", "jazz guitar",
    "clean electric guitar", "palm-muted guitar", "overdriven guitar", "distorted guitar", "guitar harmonics",
    "double bass", "fingered bass guitar", "picked bass guitar", "fretless bass guitar", "slap bass guitar",
    "slap bass guitar", "synthesizer bass", "synthesizer bass", "violin", "viola", "cello", "double bass",
    "tremolo strings", "pizzicato strings", "harp", "timpani", "string section", "slow strings",
    "synthesizer strings", "synthesizer strings", "choir", "voices", "synthesizer voice", "orchestra hit", "trumpet",
    "trombone", "tuba", "muted trumpet", "french horn", "brass section", "synthesizer brass", "synthesizer brass",
    "soprano saxophone", "alto saxophone", "tenor saxophone", "baritone saxophone", "oboe", "english horn", "bassoon",
    "clarinet", "piccolo", "flute", "recorder", "pan flute", "blown bottle", "shakuhachi", "whistle", "ocarina",
    "sitar", "banjo", "shamisen", "koto", "kalimba", "bagpipe", "fiddle", "shanai", "bell tree", "agogo bell",
    "steel drum", "woodblock", "taiko drum", "tom-tom", "synthesizer drum", "reversed cymbal", "fret noise",
    "breath noise", "seashore", "bird tweet", "telephone", "helicopter", "applause", "gunshot",
)  # fmt: skip
_SYNTHESIZERS = range(80, 104)
"""Programs without a name that says how they sound; left out."""
_FAMILIES = {
    range(0, 8): "keyboard instrument", range(8, 16): "mallet instrument", range(16, 24): "organ",
    range(24, 32): "guitar",
    range(32, 40): "bass", range(40, 48): "string instrument", range(48, 56): "ensemble",
    range(56, 64): "brass instrument",
    range(64, 80): "woodwind instrument", range(104, 112): "folk instrument", range(112, 120): "percussion",
    range(120, 128): "sound effect",
}  # fmt: skip
_FIRST_DRUM = 35
_DRUMS = (
    "bass drum", "bass drum", "side stick", "snare drum", "hand clap", "snare drum", "floor tom", "closed hi-hat",
    "floor tom", "hi-hat pedal", "low tom", "open hi-hat", "low tom", "middle tom", "crash cymbal", "high tom",
    "ride cymbal", "chinese cymbal", "ride cymbal bell", "tambourine", "splash cymbal", "cowbell", "crash cymbal",
    "vibraslap", "ride cymbal", "high bongo", "low bongo", "muted conga", "high conga", "low conga", "high timbale",
    "low timbale", "high agogo bell", "low agogo bell", "cabasa", "maracas", "short whistle", "long whistle",
    "short guiro", "long guiro", "claves", "high woodblock", "low woodblock", "muted cuica", "open cuica",
    "muted triangle", "open triangle", "shaker", "sleigh bells", "bell tree", "castanets",
)  # fmt: skip
"""By key from 35 on, those of General MIDI 2 above 81."""
_ALSO = {
    0: "p200", 1: "cp70", 2: "cp70 electric", 4: "rhodes ep1", 5: "ep dx", 16: "octave", 17: "b3", 18: "b3",
    27: "strat", 28: "mute", 30: "dist", 44: "strings", 45: "pizz", 46: "harp", 48: "str", 52: "ahh aah",
    53: "ohh doo", 56: "tp_", 60: "horn", 62: "sbrass", 71: "clar", 77: "shak", 122: "ocean", 125: "heli",
}  # fmt: skip
"""What recordings of a program are called besides."""


def instrument(bank: int, program: int, key: int, drums: int) -> tuple[str, str] | None:
    """Name and family of what a program plays, or in the bank `drums` of what a key plays; None: not told."""
    if bank == drums:
        named = _FIRST_DRUM <= key < _FIRST_DRUM + len(_DRUMS) and program < 48  # later kits have keys of their own
        return (_DRUMS[key - _FIRST_DRUM], "percussion") if named else None
    if bank != 0 or program in _SYNTHESIZERS:
        return None
    name = _NAMES[program if program < _SYNTHESIZERS.start else program - len(_SYNTHESIZERS)]
    return name, next(family for programs, family in _FAMILIES.items() if program in programs)


def belongs(recording: str, name: str, program: int) -> bool:
    """Whether a recording's own name agrees that it is of an instrument.

    Sound fonts fill gaps with what they have: a french horn with a recorded tuba.
    """
    words = [word[:3] for part in name.split() for word in part.split("-")] + _ALSO.get(program, "").split()
    return any(word in recording.lower() for word in words)
