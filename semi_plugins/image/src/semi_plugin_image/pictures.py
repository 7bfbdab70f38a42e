"""Opening, squaring, hashing and drawing picture files."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from semi.errors import PairsError

AsSquare = Callable[[Any, int], Image.Image]
"""A sample, and a side in pixels, to a square picture of that side in RGB."""
DO = "give the path of a PNG, JPEG, WebP, GIF, BMP or TIFF picture"


def open_picture(path: str | Path) -> Image.Image:
    """The picture upright (EXIF orientation applied), in RGB, transparent parts white; of an animation, frame one.

    Raises:
        PairsError: no such file, not a picture, damaged, or so large that it looks like an attack (over 89 megapixels).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                upright = ImageOps.exif_transpose(file)
                if upright.mode.startswith("I"):  # 16 bits of grey: Pillow would clip at 255
                    upright = Image.fromarray((np.asarray(upright) / 257).clip(0, 255).astype(np.uint8))
                opaque = Image.new("RGBA", upright.size, "white")
                opaque.alpha_composite(upright.convert("RGBA"))
                return opaque.convert("RGB")
    except FileNotFoundError as error:
        raise PairsError("A picture does not exist.", got=path, expected="a picture file", do=DO) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise PairsError(f"The picture {path} cannot be read.", got=error, expected="a picture file", do=DO) from error


def squared(image: Image.Image, side: int, around: str = "white") -> Image.Image:
    """The whole picture, undistorted, in a square of `side` pixels with that colour around it."""
    return ImageOps.pad(image, (side, side), Image.Resampling.BICUBIC, color=around)


def open_squared(path: str | Path, side: int) -> Image.Image:
    """A picture file as the encoders see it.

    Raises:
        PairsError: it cannot be read.
    """
    return squared(open_picture(path), side)


def difference_hash(image: Image.Image) -> int:
    """64 bits, most of which near-duplicates share: is each of 9 x 8 grey cells brighter than its right neighbour?"""
    cells = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX)).astype(int)  # (8, 9)
    bits = (cells[:, :-1] > cells[:, 1:]).ravel()  # (64,)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def thumbnail(image: Image.Image, name: str, side: int = 128) -> str:
    """A self-contained <img> of at most `side` pixels."""
    image.thumbnail((side, side))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{escape(name)}" src="data:image/png;base64,{data}">'
