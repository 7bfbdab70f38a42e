"""Any form of a sample to a sound."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from semi.errors import PairsError

from semi_plugin_speech.sound import Clip, Sound, mono

FORMS = '{"data": numbers, "rate": Hz}, or the path of a WAV, FLAC, Ogg or MP3 file'
KEYS = {"data": {"rate", "start", "duration"}, "file": {"start", "duration"}}
"""What a sample may hold beside the key that says what it is."""
SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au")


def read_sample(sample: Any, folder: Path | None = None, *, declarations: str = "sound.json") -> Sound:
    """The sound of a sample, whatever its form: a path, a mapping with `data` or `file`, or numbers.

    Args:
        sample: the sample.
        folder: what relative paths start from, and where a file that declares the rate may lie.
        declarations: the name of that file, for numbers without a rate of their own.

    Raises:
        PairsError: it is none of these, its rate is not known, or it is no sound that can be used.
    """
    folder = folder or Path()
    if isinstance(sample, str) and sample.lstrip().startswith("{"):
        try:
            sample = json.loads(sample)
        except (ValueError, RecursionError) as error:
            raise PairsError("the sample is broken JSON", got=f"{sample[:80]} ({error})") from error
    if isinstance(sample, list | tuple | np.ndarray):
        sample = {"data": sample}
    if isinstance(sample, str | Path) and str(sample).strip():
        return read_file(folder / sample).checked()
    if not isinstance(sample, Mapping) or not (kind := next((key for key in KEYS if key in sample), None)):
        raise PairsError("not a sample of sound", got=repr(sample)[:80], expected=FORMS)
    if unknown := sorted(map(str, set(sample) - KEYS[kind] - {kind})):
        raise PairsError(f"a sample has no key {unknown[0]!r} here", expected=", ".join(sorted(KEYS[kind])))
    if kind == "file":
        if not isinstance(sample["file"], str | Path) or not str(sample["file"]).strip():
            raise PairsError("`file` is not a path", got=repr(sample["file"])[:80])
        sound = read_file(folder / sample["file"])
    else:
        rate = sample.get("rate", _declared_rate(folder / declarations))
        source = sample.source if isinstance(sample, Clip) else ""
        sound = Sound(_rate(rate, declarations), mono(_array(sample["data"])), source)
    start, duration = _seconds(sample, "start"), _seconds(sample, "duration")
    return (sound.part(start or 0.0, duration) if start or duration else sound).checked()


def read_file(path: Path) -> Sound:
    """The sound in a file, its channels averaged, at the file's own rate.

    Raises:
        PairsError: no such file, or none that libsndfile can read.
    """
    import soundfile  # type: ignore[import-untyped]  # ships no types

    if not path.is_file():
        raise PairsError(f"{path} does not exist", expected="a sound file", do="check the path")
    if path.suffix.lower() not in SUFFIXES:
        raise PairsError(f"{path} is of an unknown kind", got=path.suffix or "no suffix", expected=", ".join(SUFFIXES))
    try:
        values, rate = soundfile.read(path, dtype="float32", always_2d=True)  # (T, channels)
    except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
        do = "write it as 16-bit WAV"
        raise PairsError(f"{path} cannot be read as sound", got=error, expected="a whole file", do=do) from error
    return Sound(int(rate), values.mean(axis=1), str(path))


def _array(values: Any) -> np.ndarray:
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError) as error:
        raise PairsError("`data` is no list of numbers", got=error, expected="numbers") from error
    if array.dtype.kind not in "fiu":
        raise PairsError("`data` is no list of numbers", got=repr(values)[:80], expected="numbers")
    return array


def _rate(value: Any, declarations: str) -> int:
    if value is None:
        raise PairsError(
            "the sampling rate is not known",
            expected=f'{{"data": ..., "rate": Hz}}, or a file {declarations} with {{"rate": Hz}} beside the pairs file',
        )
    fine = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not fine or not isfinite(value) or value <= 0 or value != int(value):
        raise PairsError("the sampling rate is not a whole number of Hz", got=repr(value)[:80], expected="e.g. 16000")
    return int(value)


def _declared_rate(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        declared = json.loads(path.read_text("utf-8"))
        return declared["rate"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PairsError(f"{path} declares no rate", got=repr(error), expected='{"rate": 16000}') from error


def _seconds(sample: Mapping[str, Any], key: str) -> float | None:
    value = sample.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value) or value < 0:
        raise PairsError(f"`{key}` is no time", got=repr(value)[:80], expected="seconds, not negative")
    return float(value)
