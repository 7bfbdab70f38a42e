"""The two data sets: how their clips and captions come about, and their splits."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from semi.errors import InputError
from semi.modality import Dataset
from semi.splits import SPLITS
from semi_plugin_image.assets import EMOJI

from semi_plugin_video.assets import WESNOTH
from semi_plugin_video.modality import Video
from semi_plugin_video.movements import BACKGROUNDS, FRAMES, WITH_SPEED, WITHOUT_SPEED, Movement, draw_movement, render
from semi_plugin_video.moving_pictures import MovingPictures, bare, draw
from semi_plugin_video.moving_pictures import caption as caption_of_movement
from semi_plugin_video.sources.reading import shown
from semi_plugin_video.sprites import Sprites, canvases, caption, dealt, write
from semi_plugin_video.units import Animation, find_animations
from semi_plugin_video.wml import expanded, parse

UNITS = """
#textdomain wesnoth-units
#define NOT_USED
[unit_type]
    id=Ghost
[/unit_type]
#enddef
[unit_type]
    id=Bowman
    name= _ "female^Bowman"  # a remark
    race=human
    advances_to=Longbowman,null
    {MACRO "units/a.png"}
    [attack]
        name=bow
        description=_"long bow"
    [/attack]
    [attack]
        name=fist
    [/attack]
    [attack_anim]
        [filter_attack]
            name=bow
        [/filter_attack]
        [if]
            direction=s
            [frame]
                image="units/a.png:65"
            [/frame]
            [frame]
                image="units/b[1~2,1].png:[75*2,100]"
            [/frame]
        [/if]
        [else]
            [frame]
                image="units/a.png~FL():30,units/b1.png:20,units/b2.png:20"
            [/frame]
        [/else]
    [/attack_anim]
    [attack_anim]
        [frame]
            image="units/a.png,units/b1.png,units/b2.png"
        [/frame]
    [/attack_anim]
    [death]
        [frame]
            duration=300
            image="units/b1.png,units/b2.png,units/a.png"
        [/frame]
    [/death]
    [idle_anim]
        [frame]
            image="units/a.png,units/gone.png,units/b1.png"
        [/frame]
    [/idle_anim]
[/unit_type]
"""


@pytest.fixture
def core(tmp_path: Path) -> Path:
    """Two units in the game's own form, with three sprites."""
    for number, (name, side) in enumerate((("a", 8), ("b1", 12), ("b2", 8))):
        path = tmp_path / "images" / "units" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGBA", (side, side), (60 * number, 0, 0, 255)).save(path)
    (tmp_path / "units").mkdir()
    (tmp_path / "units" / "a.cfg").write_text(UNITS, "utf-8")
    return tmp_path


def test_animations_of_units(core: Path) -> None:
    shot, death = find_animations(core)  # neither the attack with nobody knows what nor one with two frames
    names = [(path.name, milliseconds) for path, milliseconds in shot.frames]
    assert names == [("a.png", 65), ("b1.png", 75), ("b2.png", 75), ("b1.png", 100)]
    assert (shot.unit, shot.race, shot.action, shot.weapon) == ("bowman", "human", "attacking", "long bow")
    assert shot.line == {"Bowman", "Longbowman"}
    assert (death.action, death.weapon, {milliseconds for _, milliseconds in death.frames}) == ("dying", None, {100})


def test_clips_of_units(core: Path, tmp_path: Path) -> None:
    shot, death = find_animations(core)
    assert {frame.size for frame in canvases(shot)} == {(12, 12)}
    assert canvases(shot)[0].getpixel((0, 0)) == (255, 255, 255)  # the smaller one in the middle
    path = write(shot, tmp_path / "clips")
    frames, seconds = shown(Video().parse(path), 20, 12)
    assert seconds == pytest.approx(0.315)
    assert len({frame.tobytes() for frame in frames}) == 3
    before = path.stat().st_mtime_ns
    assert write(shot, tmp_path / "clips") == path
    assert path.stat().st_mtime_ns == before
    assert write(death, tmp_path / "clips") != path


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("a.png", ["a.png"]),
        ("a.png,b.png:30", ["a.png", "b.png:30"]),
        ("a-[1~3,1].png:[75*2,100,50]", ["a-1.png:75", "a-2.png:75", "a-3.png:100", "a-1.png:50"]),
        ("a-[03~01].png:40", ["a-03.png:40", "a-02.png:40", "a-01.png:40"]),
        ("a-[x,y].png", ["a-x.png", "a-y.png"]),
    ],
)
def test_progressive_text(text: str, whole: list[str]) -> None:
    assert expanded(text) == whole


def test_markup_that_does_not_close_is_read_as_far_as_it_goes() -> None:
    root = parse("[/a]\n[unit_type]\nid=x\n[attack]\nname=y")
    assert root.all("unit_type")[0].all("attack")[0].text("name") == "y"
    assert root.text("id") == ""


def _animation(number: int) -> Animation:
    weapon = "bow" if number % 2 else None
    frames = ((Path(f"{number}.png"), 100),)
    return Animation("elvish archer" if number % 3 else "sergeant", "elf", "attacking", weapon, frames, frozenset("x"))


def test_captions_of_sprites_tell_their_slots() -> None:
    told = [caption(_animation(number)) for number in range(200)]
    for text, attributes in told:
        assert all(value in text for value in attributes.values())
        assert "race" not in attributes or "sergeant" in text
    assert len({text for text, _ in told}) > 15
    assert caption(_animation(1)) == caption(_animation(1))


def test_groups_are_dealt_in_shares() -> None:
    groups = [number // 3 for number in range(300)]
    split = dealt(groups)
    assert Counter(split) == {"train": 210, "validation": 30, "test": 60}
    assert all(len({its for its, group in zip(split, groups, strict=True) if group == g}) == 1 for g in range(100))


@pytest.fixture(scope="module")
def emblem() -> Image.Image:
    """An L of 64 pixels, red and blue."""
    picture = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    picture.paste((200, 0, 0, 255), (0, 0, 20, 64))
    picture.paste((0, 0, 200, 255), (0, 44, 64, 64))
    return picture


def test_movements_do_what_they_are_called(emblem: Image.Image) -> None:
    def middles(motion: str, speed: str | None = "quickly", background: str = "black") -> tuple[np.ndarray, np.ndarray]:
        frames = np.stack([np.asarray(f, float) for f in render(emblem, Movement(motion, speed, background))]).sum(3)
        area = (frames > 60).sum((1, 2))
        rows, columns = np.mgrid[:96, :96]
        weights = np.maximum((frames > 60).sum((1, 2)), 1)
        where = [((frames > 60) * axis).sum((1, 2)) / weights for axis in (rows, columns)]
        return np.array(where), area

    (rows, columns), _ = middles("moving right")
    assert columns[7] - columns[4] > 20 > 1 > abs(rows[7] - rows[4])
    slow = middles("moving right", "slowly")[0][1]
    assert 0 < slow[7] - slow[4] < 10
    assert np.diff(middles("moving up", "slowly")[0][0]).max() < 0
    assert np.diff(middles("growing")[1]).min() > 0 > np.diff(middles("shrinking")[1]).max()
    assert (middles("blinking", "slowly")[1] == 0).sum() in (5, 6)
    assert middles("fading in", None)[1][0] == 0 < middles("fading in", None)[1][-1]
    still = render(emblem, Movement("standing still", None, "white"))
    assert len({frame.tobytes() for frame in still}) == 1
    quarter = render(emblem, Movement("spinning clockwise", "slowly", "white"))[-1]  # by 108 degrees
    assert quarter.getpixel((48, 24))[0] > quarter.getpixel((48, 24))[2]  # the red stroke is up now


@pytest.mark.parametrize("motion", [*WITH_SPEED, *WITHOUT_SPEED])
def test_movements_differ(motion: str, emblem: Image.Image) -> None:
    speeds = ("slowly", "quickly") if motion in WITH_SPEED else (None,)
    clips = {tuple(f.tobytes() for f in render(emblem, Movement(motion, speed, "white"))) for speed in speeds}
    assert len(clips) == len(speeds)
    assert all(len(clip) == FRAMES for clip in clips)


def test_a_clip_in_which_nothing_moves_is_a_clip(emblem: Image.Image, tmp_path: Path) -> None:
    emblem.save(tmp_path / "emblem.png")
    path = draw(tmp_path / "emblem.png", Movement("standing still", None, "blue"), tmp_path / "clips")
    frames, seconds = shown(Video().parse(path), FRAMES, 96)
    assert (len({frame.tobytes() for frame in frames}), seconds) == (1, pytest.approx(1.5))


def test_captions_of_movements_tell_their_slots() -> None:
    rng = random.Random(0)
    told = [(movement := draw_movement(rng), *caption_of_movement("rabbit", movement, rng)) for _ in range(500)]
    for movement, text, attributes in told:
        assert all(value in text for value in attributes.values())
        assert attributes["motion"] == movement.motion
        assert attributes.get("speed", movement.speed) == movement.speed
        assert attributes.get("background", movement.background) == movement.background
        assert text == " ".join(text.split())
    assert {attributes["motion"] for _, _, attributes in told} == {*WITH_SPEED, *WITHOUT_SPEED}
    assert {attributes.get("background") for _, _, attributes in told} == {None, *BACKGROUNDS}


@pytest.mark.parametrize(("text", "name"), [("orange, fruit", "orange"), ("man, red hair", "man, red hair")])
def test_kinds_are_not_told(text: str, name: str) -> None:
    assert bare(text) == name


@pytest.mark.parametrize("dataset", [MovingPictures, Sprites])
def test_unknown_split_names_the_known(dataset: type[Dataset]) -> None:
    with pytest.raises(InputError) as error:
        dataset().pairs("dev")
    assert "validation" in str(error.value)


@pytest.mark.assets
@pytest.mark.skipif(not EMOJI.present(), reason="run: semi fetch moving-pictures")
def test_moving_pictures_share_no_picture_between_splits() -> None:
    # Validation and test alone are drawn here: train has eight times as many.
    validation, test = (MovingPictures().pairs(split) for split in SPLITS[1:])
    assert (len(validation), len(test)) == (234, 170)
    assert not {pair.attributes["picture"] for pair in validation} & {pair.attributes["picture"] for pair in test}
    for pair in (*validation, *test):
        assert isinstance(pair.sample, Path)
        assert pair.caption == pair.caption.lower()
        assert all(value in pair.caption for value in pair.attributes.values())
    assert Video().parse(test[0].sample) == test[0].sample


@pytest.mark.assets
@pytest.mark.skipif(not WESNOTH.present(), reason="run: semi fetch sprites (146 MB)")
def test_sprites_share_no_unit_between_splits() -> None:
    by_split = {split: Sprites().pairs(split) for split in SPLITS}
    assert {split: len(pairs) for split, pairs in by_split.items()} == {"train": 341, "validation": 49, "test": 97}
    units = {split: {pair.attributes["unit"] for pair in pairs} for split, pairs in by_split.items()}
    for one, other in combinations(SPLITS, 2):
        assert not units[one] & units[other]
    for pair in by_split["test"]:
        assert pair.caption == pair.caption.lower()
        assert all(value in pair.caption for value in pair.attributes.values())
        assert shown(Video().parse(pair.sample), 2, 16)[1] >= 0.1
