"""Opening pictures, and the modality's checks, on small generated files."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from semi.encoding import encode
from semi.errors import InputError, PairsError
from semi.pairs import Pair
from semi.pairs_io import read_pairs, write_pairs

from semi_plugin_image.grouped import MAX_BITS
from semi_plugin_image.modality import ImageModality
from semi_plugin_image.pictures import difference_hash, open_picture, squared


@pytest.fixture
def photo() -> Image.Image:
    """40 x 20, red on the left, blue on the right."""
    image = Image.new("RGB", (40, 20), "blue")
    image.paste("red", (0, 0, 20, 20))
    return image


def test_exif_orientation_is_applied(photo: Image.Image, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    photo.save(tmp_path / "turned.png", exif=exif)
    upright = open_picture(tmp_path / "turned.png")
    assert upright.size == (20, 40)
    assert upright.getpixel((10, 2)) == (255, 0, 0)  # what was left is now up


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_is_white(mode: str, tmp_path: Path) -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 4, 8))
    image.convert(mode).save(tmp_path / "half.png")
    opened = open_picture(tmp_path / "half.png")
    assert opened.mode == "RGB"
    assert opened.getpixel((7, 4)) == (255, 255, 255)
    assert opened.getpixel((1, 4)) == (0, 0, 0)


def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 16).astype(np.uint16).reshape(4, 4)
    Image.fromarray(ramp).save(tmp_path / "scan.png")
    grey = np.asarray(open_picture(tmp_path / "scan.png"))[..., 0].ravel().astype(int)
    np.testing.assert_allclose(grey, np.linspace(0, 255, 16), atol=1)


def test_squared_shows_all_of_it_undistorted(photo: Image.Image) -> None:
    square = np.asarray(squared(photo, 80)).astype(int)
    assert square.shape == (80, 80, 3)
    assert (square[:18] == 255).all()  # white above and below
    assert (square[62:] == 255).all()
    assert (square[40, 5] == (255, 0, 0)).all()
    assert (square[40, 75] == (0, 0, 255)).all()


def test_hash_is_near_for_a_smaller_paler_copy_and_far_for_another_picture() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (2, 5, 5, 3), dtype=np.uint8)
    image, other = (Image.fromarray(cells).resize((180, 160), Image.Resampling.BICUBIC) for cells in noise)
    copy = image.resize((60, 50)).point(lambda value: value * 0.5 + 100)
    assert (difference_hash(image) ^ difference_hash(copy)).bit_count() <= MAX_BITS
    assert (difference_hash(image) ^ difference_hash(other)).bit_count() > 5 * MAX_BITS


def test_path_is_relative_to_the_pairs_file(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "a.png")
    assert ImageModality().parse("a.png", folder=tmp_path) == tmp_path / "a.png"
    assert ImageModality().parse(str(tmp_path / "a.png")) == tmp_path / "a.png"


@pytest.fixture
def album(photo: Image.Image, tmp_path: Path) -> Path:
    """A pairs file beside its two pictures."""
    folder = tmp_path / "album"
    folder.mkdir()
    photo.save(folder / "a.png")
    photo.rotate(180).save(folder / "b.png")
    write_pairs(folder / "pairs.jsonl", [Pair(folder / f"{name}.png", name) for name in "ab"])
    return folder / "pairs.jsonl"


def sha256(pairs: Path) -> str:
    return read_pairs(pairs, modality=ImageModality()).sha256


def test_the_hash_of_pairs_is_that_of_the_pictures_wherever_they_lie(album: Path, tmp_path: Path) -> None:
    before = sha256(album)
    moved = album.parent.rename(tmp_path / "moved") / "pairs.jsonl"
    assert sha256(moved) == before
    (moved.parent / "a.png").rename(moved.parent / "c.png")
    moved.write_text(moved.read_text().replace("a.png", "c.png"))
    assert sha256(moved) == before
    Image.new("RGB", (40, 20), "green").save(moved.parent / "c.png")
    assert sha256(moved) != before


class Size:
    """Width and height of a picture."""

    id, width = "image/size@1", 2

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        return np.array([open_picture(sample).size for sample in samples], np.float32)


def test_embeddings_record_the_content_of_their_pictures(album: Path, photo: Image.Image, tmp_path: Path) -> None:
    def recorded(out: str) -> str:
        pairs = read_pairs(album, modality=ImageModality()).pairs
        return str(encode(ImageModality(), Size(), pairs, tmp_path / out).manifest["info"]["pairs_sha256"])

    first = recorded("first")
    assert recorded("again") == first
    photo.rotate(90).save(album.parent / "b.png")
    assert recorded("changed") != first


@pytest.mark.parametrize("sample", ["", None, 7, ["a.png"]], ids=repr)
def test_what_is_not_a_path_is_refused(sample: object) -> None:
    with pytest.raises(PairsError, match="not a path"):
        ImageModality().parse(sample)


def test_missing_damaged_and_foreign_files_are_refused_by_name(photo: Image.Image, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((200, 200), 50).save(buffer, "PNG")
    (tmp_path / "cut.png").write_bytes(buffer.getvalue()[:5000])
    (tmp_path / "text.png").write_text("not a picture")
    for name in ("missing.png", "cut.png", "text.png", "."):
        with pytest.raises(PairsError) as error:
            ImageModality().parse(name, folder=tmp_path)
        assert str(tmp_path / name) in str(error.value)


def test_enormous_picture_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("1", (15, 10)).save(tmp_path / "large.png")  # above the limit: Pillow warns
    Image.new("1", (50, 10)).save(tmp_path / "bomb.png")  # above twice the limit: Pillow raises
    for name in ("large.png", "bomb.png"):
        with pytest.raises(PairsError, match="cannot be read"):
            open_picture(tmp_path / name)


def test_drawing_is_self_contained(photo: Image.Image, tmp_path: Path) -> None:
    photo.resize((400, 200)).save(tmp_path / 'a"<b.png')
    drawing = ImageModality().draw(tmp_path / 'a"<b.png')
    assert drawing.startswith('<img alt="a&quot;&lt;b.png" src="data:image/png;base64,')
    data = base64.b64decode(drawing.split("base64,")[1].split('"')[0])
    assert Image.open(io.BytesIO(data)).size == (128, 64)


def test_unknown_encoder_names_the_known() -> None:
    with pytest.raises(InputError) as error:
        ImageModality().encoder("vgg")
    assert "efficientnet-lite0-grid" in str(error.value)
