"""Samples as they stand in a pairs file, and the frames that are seen of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image
from semi.errors import PairsError
from semi_plugin_image.shared import open_picture, squared

from semi_plugin_video.sources import animation, film
from semi_plugin_video.sources.sampling import INSTANT, from_stream, middles

Sample: TypeAlias = "Path | dict[str, Any]"
DECLARATIONS = "video.json"
"""Beside a pairs file: {"fps": ...} for all samples that do not say so themselves."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif")
MAX_FPS = 100_000.0
KEYS = ("frames", "file", "fps", "start", "duration")
EXPECTED = (
    'the path of an animation or a film, {"file": path, "start": s, "duration": s}, or {"frames": an array (t, h, w, 3)'
    ' of uint8, a list of pictures or a folder of them, "fps": frames per second}'
)


def read_sample(sample: Any, folder: Path | None = None) -> Sample:
    """A sample in its own form: a Path, {"file": Path, ...} or {"frames": uint8 (t, h, w, 3) or Paths, "fps": float}.

    What it returned it takes as it is.

    Raises:
        PairsError: not a sample; no frames, no fps, another shape or type, damaged; it says which.
        InputError: a film, and PyAV is not installed.
    """
    if isinstance(sample, str | Path) and str(sample).strip():
        path = ((folder or Path()) / sample).absolute()
        if path.is_dir():
            return _frames({"frames": path}, folder)
        return _file(path)
    if isinstance(sample, np.ndarray):
        return _frames({"frames": sample}, folder)
    if not isinstance(sample, Mapping) or not sample:
        raise PairsError("A sample of the modality video is none.", got=repr(sample)[:80], expected=EXPECTED)
    if unknown := sorted(str(key) for key in sample if key not in KEYS):
        raise PairsError("A sample of the modality video has unknown keys.", got=", ".join(unknown), expected=EXPECTED)
    if ("frames" in sample) == ("file" in sample):
        raise PairsError("A sample of the modality video needs frames or a file.", got=list(sample), expected=EXPECTED)
    return _frames(sample, folder) if "frames" in sample else _part(sample, folder)


def shown(sample: Sample, n: int, side: int) -> tuple[list[Image.Image], float]:
    """n frames of a parsed sample at even distances, each whole in a white square of `side` pixels, and its seconds.

    Time is cut into n equal parts; of each, the frame is taken that is shown in its middle. A clip of fewer frames
    shows some of them twice.

    Raises:
        PairsError: the sample cannot be read to its end.
    """

    def small(picture: Image.Image) -> Image.Image:
        return squared(picture, side)

    if isinstance(sample, Path) or "file" in sample:
        part: dict[str, Any] = {"file": sample} if isinstance(sample, Path) else sample
        path, start, duration = part["file"], part.get("start", 0.0), part.get("duration", math.inf)
        if _is_animation(path):
            return from_stream(animation.stream(path), n, small)
        found = from_stream(film.stream(path, start, duration), n, small)
        if not found[0]:
            raise PairsError(
                f"{path} has no frames there", got=f"start {start:g} s", expected="a start within the film"
            )
        return found
    frames, fps = sample["frames"], sample["fps"]
    indices = ((middles(n, len(frames) / fps) + INSTANT) * fps).astype(int)
    opened: Callable[[Any], Image.Image] = Image.fromarray if isinstance(frames, np.ndarray) else open_picture
    pictures = {index: small(opened(frames[index])) for index in set(indices.tolist())}
    return [pictures[index] for index in indices.tolist()], len(frames) / fps


def _file(path: Path) -> Path:
    (animation if _is_animation(path) else film).check(path)
    return path


def _is_animation(path: Path) -> bool:
    try:
        return animation.is_picture(path)
    except OSError as error:
        raise PairsError(f"{path} cannot be opened", got=error, expected="an animation or a film") from error


def _part(sample: Mapping[str, Any], folder: Path | None) -> Sample:
    name = sample["file"]
    if not isinstance(name, str | Path) or not str(name).strip():
        raise PairsError("`file` is not a path", got=repr(name)[:80], expected="the path of an animation or a film")
    path = ((folder or Path()) / name).absolute()
    if "fps" in sample:
        raise PairsError(f"{path} has times of its own", got="fps", expected="no fps", do="leave fps out")
    if path.is_dir():
        raise PairsError(f"{path} is a folder", expected="a file", do='give a folder as {"frames": folder, "fps": ...}')
    _file(path)
    part = {key: _number(sample[key], key) for key in ("start", "duration") if key in sample}
    if part and _is_animation(path):
        do = "cut the animation, or give its frames"
        raise PairsError("only films have parts", got=", ".join(part), expected="a film", do=do)
    return {"file": path, **part} if part else path


def _frames(sample: Mapping[str, Any], folder: Path | None) -> dict[str, Any]:
    frames = sample["frames"]
    if isinstance(frames, str | Path):
        frames = _in_folder(((folder or Path()) / frames).absolute())
    elif isinstance(frames, list | tuple) and frames and all(isinstance(name, str | Path) for name in frames):
        frames = [((folder or Path()) / name).absolute() for name in frames]
    else:
        frames = _array(frames)
    if not len(frames):
        raise PairsError("the clip has no frames", expected="2 frames or more")
    fps = _number(sample["fps"], "fps") if "fps" in sample else _declared(folder)
    start, duration = (_number(sample[key], key) if key in sample else None for key in ("start", "duration"))
    first = round((start or 0) * fps)
    last = len(frames) if duration is None else first + max(1, round(duration * fps))
    chosen = frames[first:last]
    if len(chosen) < 2:
        got = f"{len(chosen)} of {len(frames)} frames"
        raise PairsError("the clip is too short", got=got, expected="2 frames or more", do="use the modality image")
    if isinstance(chosen, list):
        for path in chosen:
            open_picture(path)
    return {"frames": chosen, "fps": fps}


def _in_folder(folder: Path) -> list[Path]:
    """The pictures of a folder in the order of their names; numbers in them count as numbers."""
    if not folder.is_dir():
        raise PairsError(f"{folder} does not exist", expected="a folder of pictures")
    found = [path for path in folder.iterdir() if path.suffix.lower() in PICTURES]
    if not found:
        raise PairsError(f"{folder} has no frames in it", got="no pictures", expected=f"files {', '.join(PICTURES)}")
    return sorted(found, key=lambda path: _natural(path.name))


def _natural(name: str) -> list[tuple[int, str]]:
    parts: list[tuple[int, str]] = []
    digits = ""
    for letter in f"{name}\0":
        if letter.isdecimal():
            digits += letter
        else:
            if digits:
                parts.append((int(digits), ""))
                digits = ""
            parts.append((-1, letter))
    return parts


def _array(frames: Any) -> np.ndarray:
    try:
        array = np.asarray(frames)
    except ValueError as error:  # rows of different lengths
        raise PairsError("the frames are no array", got=error, expected="(t, h, w, 3), uint8") from error
    if array.ndim != 4 or array.shape[-1] != 3 or 0 in array.shape[1:]:
        do = "repeat a grey channel three times, and put colours last"
        raise PairsError("the frames have the wrong shape", got=array.shape, expected="(t, h, w, 3)", do=do)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise PairsError("the frames hold NaN or infinity", expected="integers from 0 to 255")
    if array.dtype.kind not in "iu" or (array.size and not 0 <= array.min() <= array.max() <= 255):
        do = "scale them to 0 to 255 and convert to uint8"
        got = array.dtype if array.dtype.kind not in "iu" else f"{array.min()} to {array.max()}"
        raise PairsError("the frames hold other numbers than a picture's", got=got, expected="0 to 255, uint8", do=do)
    return array.astype(np.uint8)


def _number(value: Any, key: str) -> float:
    """A finite number: fps and duration above 0, start at least 0."""
    proper = isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)
    if not proper or value < 0 or (value == 0 and key != "start") or (key == "fps" and value > MAX_FPS):
        expected = {"fps": "frames per second, above 0", "start": "seconds, 0 or more", "duration": "seconds, above 0"}
        raise PairsError(f"`{key}` is not a number that can be", got=repr(value)[:40], expected=expected[key])
    return float(value)


def _declared(folder: Path | None) -> float:
    path = (folder or Path()) / DECLARATIONS
    if folder is not None and path.is_file():
        try:
            found = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise PairsError(f"{path} is not JSON", got=error, expected='{"fps": frames per second}') from error
        if isinstance(found, Mapping) and "fps" in found:
            return _number(found["fps"], "fps")
        raise PairsError(
            f"{path} does not say how many frames a second has", got=str(found)[:80], expected='{"fps": 25}'
        )
    do = f'add "fps" to the sample, or a file {DECLARATIONS} with {{"fps": ...}} beside the pairs file'
    raise PairsError("the frames per second are not known", got="no fps", expected='{"frames": ..., "fps": 25}', do=do)
