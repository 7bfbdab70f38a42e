"""Pictures that move: what `moving-pictures` is made of."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import NamedTuple

from PIL import Image

SIDE, PICTURE = 96, 48
FRAMES, FPS = 12, 8


class Pose(NamedTuple):
    """How a picture stands in a frame."""

    right: float = 0.0
    """Of the middle, in frame widths; a picture is half as wide as the frame."""
    down: float = 0.0
    clockwise: float = 0.0
    """Degrees."""
    size: float = 1.0
    opacity: float = 1.0


def _moving(right: int, down: int) -> Callable[[float, bool], Pose]:
    def pose(time: float, quick: bool) -> Pose:
        way = (time - 0.5) * (0.9 if quick else 0.3)
        return Pose(right=way * right, down=way * down)

    return pose


def _spinning(turns: int) -> Callable[[float, bool], Pose]:
    return lambda time, quick: Pose(clockwise=360 * turns * time * (1.5 if quick else 0.3))


def _sized(sign: int) -> Callable[[float, bool], Pose]:
    return lambda time, quick: Pose(size=0.9 * math.exp(sign * (time - 0.5) * (1.5 if quick else 0.5)))


def _waves(time: float, quick: bool) -> float:
    return math.pi * time * (3 if quick else 1)


WITH_SPEED: Mapping[str, Callable[[float, bool], Pose]] = {
    "moving left": _moving(-1, 0),
    "moving right": _moving(1, 0),
    "moving up": _moving(0, -1),
    "moving down": _moving(0, 1),
    "spinning clockwise": _spinning(1),
    "spinning counterclockwise": _spinning(-1),
    "growing": _sized(1),
    "shrinking": _sized(-1),
    "bouncing": lambda time, quick: Pose(down=0.2 - 0.4 * abs(math.sin(_waves(time, quick)))),
    "swaying": lambda time, quick: Pose(clockwise=30 * math.sin(2 * _waves(time, quick))),
    "blinking": lambda time, quick: Pose(opacity=float(int(time * (6 if quick else 2) * 2 + 1e-9) % 2 == 0)),
}
"""Movement in words -> pose at a time from 0 to 1, quick or slow."""
WITHOUT_SPEED: Mapping[str, Callable[[float], Pose]] = {
    "fading in": lambda time: Pose(opacity=time),
    "fading out": lambda time: Pose(opacity=1 - time),
    "standing still": lambda time: Pose(),
}
BACKGROUNDS = {
    "white": (255, 255, 255), "black": (0, 0, 0), "red": (190, 50, 45), "green": (60, 140, 70), "blue": (50, 90, 170),
    "yellow": (240, 215, 110), "grey": (150, 150, 150),
}  # fmt: skip


class Movement(NamedTuple):
    """What happens in a clip."""

    motion: str
    """A key of WITH_SPEED or WITHOUT_SPEED."""
    speed: str | None
    """slowly, quickly; None where the motion has none."""
    background: str
    """A key of BACKGROUNDS; white in half of the clips."""


def draw_movement(rng: random.Random) -> Movement:
    """One of all motions, equally likely."""
    motion = rng.choice([*WITH_SPEED, *WITHOUT_SPEED])
    speed = rng.choice(("slowly", "quickly")) if motion in WITH_SPEED else None
    background = "white" if rng.random() < 0.5 else rng.choice([name for name in BACKGROUNDS if name != "white"])
    return Movement(motion, speed, background)


def render(picture: Image.Image, movement: Movement) -> list[Image.Image]:
    """The twelve frames of 96 x 96 pixels in RGB.

    Args:
        picture: RGBA, of any size.
    """
    fitted = picture.convert("RGBA").resize((PICTURE, PICTURE), Image.Resampling.LANCZOS)
    frames = []
    for number in range(FRAMES):
        time = number / (FRAMES - 1)
        if movement.motion in WITH_SPEED:
            pose = WITH_SPEED[movement.motion](time, movement.speed == "quickly")
        else:
            pose = WITHOUT_SPEED[movement.motion](time)
        frame = Image.new("RGBA", (SIDE, SIDE), BACKGROUNDS[movement.background])
        frame.alpha_composite(_posed(fitted, pose))
        frames.append(frame.convert("RGB"))
    return frames


def _posed(picture: Image.Image, pose: Pose) -> Image.Image:
    """The picture on a transparent frame."""
    angle = math.radians(pose.clockwise)
    cos, sin = math.cos(angle) / pose.size, math.sin(angle) / pose.size
    x, y = SIDE * (0.5 + pose.right), SIDE * (0.5 + pose.down)
    middle = PICTURE / 2
    # Pillow wants the place in the picture that each place of the frame shows.
    back = (cos, sin, middle - cos * x - sin * y, -sin, cos, middle + sin * x - cos * y)
    frame = picture.transform((SIDE, SIDE), Image.Transform.AFFINE, back, Image.Resampling.BICUBIC)
    if pose.opacity < 1:
        frame.putalpha(frame.getchannel("A").point(lambda value: round(value * pose.opacity)))
    return frame
