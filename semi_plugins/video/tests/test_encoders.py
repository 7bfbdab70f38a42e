"""The three encoders: conformance, and that they see what they are said to see."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from semi.errors import ArtifactError, InputError, PairsError
from semi.testing import ModalityConformance
from semi_plugin_image.shared import EFFICIENTNET, efficientnet_lite0
from transformers import XCLIPModel

from semi_plugin_video.correlation import shift, turn_and_zoom
from semi_plugin_video.modality import HUB, Video
from semi_plugin_video.motion import FRAMES, SIDE, blocks, statistics
from semi_plugin_video.sources.reading import shown
from semi_plugin_video.xclip import MEAN, STD

needs_weights = pytest.mark.skipif(not EFFICIENTNET.present(), reason="run: semi fetch efficientnet-lite0-weights")
EXAMPLE = Video.examples[0]
REFUSED = (
    {"frames": EXAMPLE["frames"]},
    {"frames": EXAMPLE["frames"][:1], "fps": 8},
    {"frames": np.full((4, 8, 8, 3), np.nan), "fps": 8},
    "gone.gif",
)


class TestMotion(ModalityConformance):
    modality = Video()
    encoder = "motion"
    samples = Video.examples
    refused = REFUSED


@pytest.mark.assets
@needs_weights
class TestFrames(ModalityConformance):
    modality = Video()
    samples = Video.examples
    refused = REFUSED


class TestXClip(ModalityConformance):
    modality = Video()
    samples = Video.examples

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _a_model_in_a_folder(cls, xclip_folder: Path) -> None:
        cls.encoder = f"xclip:{xclip_folder}"


@pytest.mark.assets
@needs_weights
def test_frames_give_their_mean_and_change(frames: np.ndarray) -> None:
    encoder = Video().encoder()
    clip = Video().parse({"frames": frames, "fps": 10})
    still = Video().parse({"frames": np.stack([frames[0]] * 4), "fps": 10})
    moving, resting = encoder.encode([clip, still])
    assert (encoder.id, encoder.width) == ("video/efficientnet-lite0@1", 2560)
    assert moving[1280:].mean() > 0.01
    np.testing.assert_array_equal(resting[1280:], 0)
    network = efficientnet_lite0("video/frames@1", lambda frame, side: frame)
    np.testing.assert_allclose(resting[:1280], network.encode(shown(still, 1, 224)[0])[0], atol=1e-5)


def picture(right: int = 0, down: int = 0, degrees: float = 0, size: float = 1.0) -> np.ndarray:
    """Light (64, 64) of a fixed pattern of 30 pixels, moved."""
    cells = np.random.default_rng(0).integers(0, 255, (5, 5), dtype=np.uint8)
    pattern = Image.fromarray(cells).resize((round(30 * size),) * 2, Image.Resampling.BICUBIC)
    frame = Image.new("L", (SIDE, SIDE))
    frame.paste(pattern, (round(32 - 15 * size) + right, round(32 - 15 * size) + down))
    return np.asarray(frame.rotate(-degrees, Image.Resampling.BICUBIC), np.float64) / 255


@pytest.mark.parametrize(("right", "down"), [(3, 0), (-5, 0), (0, 7), (-2, -4), (0, 0)])
def test_shifts_are_found(right: int, down: int) -> None:
    assert shift(picture(), picture(right, down))[:2] == (down, right)


@pytest.mark.parametrize("degrees", [25, -45, 60])
def test_turns_are_found(degrees: float) -> None:
    turn, _ = turn_and_zoom(picture(), picture(degrees=degrees))
    assert np.degrees(turn) == pytest.approx(degrees, abs=6)


@pytest.mark.parametrize("size", [0.9, 1.1])
def test_zooms_are_found(size: float) -> None:
    _, zoom = turn_and_zoom(picture(), picture(size=size))
    assert zoom == pytest.approx(np.log(size), abs=0.13)


def test_statistics_tell_what_they_are_named_after() -> None:
    def of(light: list[np.ndarray], seconds: float = 1.0) -> np.ndarray:
        return statistics([Image.fromarray((frame * 255).astype(np.uint8)).convert("RGB") for frame in light], seconds)

    still = of([picture()] * FRAMES)
    right = of([picture(right=-11 + 2 * time) for time in range(FRAMES)])
    assert len(still) == len(right) == 300
    changes = slice(48 + 18 + 36, 48 + 18 + 36 + 36)
    np.testing.assert_array_equal(still[changes], 0)
    assert right[changes].min() >= 0 < right[changes][0]
    columns = right[48 + 18 + 36 + 36 + 23 + 12 :][:12]
    assert (np.diff(columns) > 0).all()  # of the middle
    shifts = right[48 + 18 + 36 + 36 + 23 + 48 :]
    np.testing.assert_array_equal(shifts[:11], 0)
    np.testing.assert_array_equal(shifts[11:22], 2)
    slow = of([picture(right=-11 + 2 * time) for time in range(FRAMES)], 2.0)
    assert slow[296] - right[296] == pytest.approx(np.log(2))
    assert slow[297] < right[297]


def test_statistics_of_nothing_are_finite() -> None:
    for colour in ("black", "white"):
        assert np.isfinite(statistics([Image.new("RGB", (SIDE, SIDE), colour)] * FRAMES, 1.0)).all()


def test_blocks_are_means() -> None:
    image = np.arange(SIDE * SIDE, dtype=float).reshape(SIDE, SIDE)
    np.testing.assert_allclose(blocks(image, 2)[0, 0], image[:32, :32].mean())
    np.testing.assert_allclose(blocks(np.stack([image, image + 1]), 6)[1, 5, 5], image[53:, 53:].mean() + 1)
    np.testing.assert_allclose(blocks(np.stack([image] * 3, -1), 4)[3, 0, 2], image[48:, :16].mean())


def test_embeddings_are_those_of_the_model(xclip_folder: Path, frames: np.ndarray) -> None:
    model = XCLIPModel.from_pretrained(xclip_folder).eval()
    clip = Video().parse({"frames": frames, "fps": 10})
    pictures = np.stack([np.asarray(frame, np.float32) for frame in shown(clip, 4, 32)[0]])
    batch = torch.tensor((pictures / 255 - MEAN) / STD).permute(0, 3, 1, 2)[None]
    with torch.inference_mode():
        expected = model.get_video_features(pixel_values=batch).pooler_output.numpy()
    encoder = Video().encoder(f"xclip:{xclip_folder}")
    np.testing.assert_allclose(encoder.encode([clip]), expected, atol=1e-5)
    assert encoder.width == 24


def test_order_of_frames_matters_to_xclip_and_motion(xclip_folder: Path, frames: np.ndarray) -> None:
    clips = [Video().parse({"frames": part, "fps": 10}) for part in (frames, frames[::-1])]
    for name in (f"xclip:{xclip_folder}", "motion"):
        forwards, backwards = Video().encoder(name).encode(clips)
        assert np.abs(forwards - backwards).max() > 1e-5  # weights are random


def test_what_is_no_xclip_is_refused(tmp_path: Path, xclip_folder: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no config\.json"):
        Video().encoder(f"xclip:{tmp_path}")
    (tmp_path / "config.json").write_text((xclip_folder / "config.json").read_text("utf-8"), "utf-8")
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ArtifactError, match=re.escape(str(tmp_path))):
        Video().encoder(f"xclip:{tmp_path}")


def test_hub_that_cannot_be_reached_says_what_else_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(source: str, file: str) -> str:
        raise OSError(f"{source} is out of reach")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(InputError, match=re.escape(HUB)) as error:
        Video().encoder("xclip")
    assert "xclip:FOLDER" in str(error.value)


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError) as error:
        Video().encoder("xclip:anything")
    assert "semi-plugin-video[hub]" in str(error.value)


@pytest.mark.parametrize("name", ["vgg", "motion:x"])
def test_unknown_encoder_names_the_known(name: str) -> None:
    with pytest.raises(InputError, match="no such encoder") as error:
        Video().encoder(name)
    assert "xclip:FOLDER" in str(error.value)


def test_files_that_vanished_are_named(tmp_path: Path) -> None:
    with pytest.raises(PairsError, match=r"gone\.gif"):
        Video().encoder("motion").encode([tmp_path / "gone.gif"])
