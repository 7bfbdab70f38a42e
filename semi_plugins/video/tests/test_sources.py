"""What a sample may be, what is refused, and that one clip is one clip whatever it comes in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from semi.errors import InputError, PairsError
from semi.pairs import Pair
from semi.pairs_io import pairs_sha256, read_labelled, read_pairs, write_pairs

from semi_plugin_video.modality import Video
from semi_plugin_video.sources.reading import shown
from semi_plugin_video.sources.sampling import KEPT, Frame, from_stream, middles

FPS = 10


def seen(sample: object, n: int = 5, side: int = 48, folder: Path | None = None) -> tuple[np.ndarray, float]:
    """n frames (n, side, side, 3) of a sample as it stands in a pairs file, and its seconds."""
    pictures, seconds = shown(Video().parse(sample, folder=folder), n, side)
    return np.stack([np.asarray(picture, int) for picture in pictures]), seconds


def test_one_clip_is_one_clip(frames: np.ndarray, folder: Path, animations: dict[str, Path]) -> None:
    wanted, seconds = seen({"frames": frames, "fps": FPS})
    assert (wanted.shape, seconds) == ((5, 48, 48, 3), 1.0)
    (folder.parent / "video.json").write_text(f'{{"fps": {FPS}}}', "utf-8")
    for sample in (
        {"frames": frames.tolist(), "fps": FPS},
        {"frames": str(folder), "fps": FPS},
        {"frames": [folder / f"frame-{number}.png" for number in range(1, 11)], "fps": FPS},
        {"file": animations["png"]},
        str(animations["png"]),
        animations["webp"],
    ):
        found, its_seconds = seen(sample)
        np.testing.assert_array_equal(found, wanted)
        assert its_seconds == pytest.approx(1.0)
    for sample in (folder.name, {"frames": folder.name}, frames):  # video.json says how fast
        np.testing.assert_array_equal(seen(sample, folder=folder.parent)[0], wanted)
    found, its_seconds = seen(animations["gif"])
    assert np.abs(found - wanted).mean() < 1  # a palette
    assert its_seconds == pytest.approx(1.0)


def test_frames_are_taken_from_the_middles_of_equal_parts(frames: np.ndarray) -> None:
    np.testing.assert_allclose(middles(4, 2.0), [0.25, 0.75, 1.25, 1.75])
    numbered = np.zeros((100, 2, 2, 3), np.uint8) + np.arange(100, dtype=np.uint8)[:, None, None, None]
    found, _ = seen({"frames": numbered, "fps": FPS}, n=4, side=2)
    np.testing.assert_array_equal(found[:, 0, 0, 0], [12, 37, 62, 87])
    found, _ = seen({"frames": numbered[:2], "fps": FPS}, n=4, side=2)
    np.testing.assert_array_equal(found[:, 0, 0, 0], [0, 0, 1, 1])  # shown twice
    found, seconds = seen({"frames": numbered, "fps": FPS, "start": 5, "duration": 2}, n=2, side=2)
    np.testing.assert_array_equal(found[:, 0, 0, 0], [55, 65])
    assert seconds == 2.0


def test_times_of_an_animation_count(frames: np.ndarray, tmp_path: Path) -> None:
    first, *rest = map(Image.fromarray, frames)
    durations = [910] + [10] * 9  # browsers show 10 ms as 100 ms
    first.save(tmp_path / "a.webp", save_all=True, append_images=rest, duration=durations, lossless=True)
    found, seconds = seen(tmp_path / "a.webp", n=2)
    assert seconds == pytest.approx(1.81)
    assert (found[0] == seen({"frames": frames[:2], "fps": FPS}, n=2)[0][0]).all()
    assert (found[0] != found[1]).any()


def test_long_streams_are_thinned() -> None:
    def stream() -> Iterator[Frame]:
        for number in range(5 * KEPT):
            yield Frame(
                number / 10, (number + 1) / 10, lambda number=number: Image.new("L", (1, 1), number * 256 // (5 * KEPT))
            )

    pictures, seconds = from_stream(stream(), 4, lambda picture: picture)
    assert seconds == KEPT / 2
    np.testing.assert_allclose([picture.getpixel((0, 0)) for picture in pictures], [32, 96, 160, 224], atol=1)


@pytest.mark.parametrize(
    ("sample", "says"),
    [
        ({"frames": np.zeros((4, 8, 8, 3), np.uint8)}, "frames per second are not known"),
        (np.zeros((4, 8, 8, 3), np.uint8), "frames per second are not known"),
        ({"frames": np.zeros((4, 8, 8), np.uint8), "fps": 5}, "wrong shape"),
        ({"frames": np.zeros((4, 3, 8, 8), np.uint8), "fps": 5}, "wrong shape"),
        ({"frames": np.zeros((0, 8, 8, 3), np.uint8), "fps": 5}, "no frames"),
        ({"frames": np.zeros((1, 8, 8, 3), np.uint8), "fps": 5}, "too short"),
        ({"frames": np.zeros((4, 8, 8, 3), np.uint8), "fps": 5, "start": 9}, "too short"),
        ({"frames": np.full((4, 8, 8, 3), np.nan), "fps": 5}, "NaN"),
        ({"frames": np.zeros((4, 8, 8, 3)), "fps": 5}, "other numbers"),
        ({"frames": np.full((4, 8, 8, 3), 256), "fps": 5}, "other numbers"),
        ({"frames": [[[1, 2], [3]]], "fps": 5}, "no array"),
        ({"frames": np.zeros((4, 8, 8, 3), np.uint8), "fps": 0}, "fps"),
        ({"frames": np.zeros((4, 8, 8, 3), np.uint8), "fps": float("nan")}, "fps"),
        ({"frames": np.zeros((4, 8, 8, 3), np.uint8), "fps": True}, "fps"),
        ({"frames": np.zeros((4, 8, 8, 3), np.uint8), "fps": 5, "start": -1}, "start"),
        ({"frames": np.zeros((4, 8, 8, 3), np.uint8), "fps": 5, "duration": 0}, "duration"),
        ({"frames": np.zeros((4, 8, 8, 3), np.uint8), "fps": 5, "units": "SI"}, "unknown keys"),
        ({"frames": [], "fps": 5}, "wrong shape"),
        ({"frames": "gone", "fps": 5}, "does not exist"),
        ({"fps": 5}, "needs frames or a file"),
        ({"file": ""}, "not a path"),
        ({"file": "gone.gif"}, "cannot be opened"),
        ("gone.mp4", "cannot be opened"),
        (7, "is none"),
    ],
)
def test_what_is_no_clip_is_refused_by_name(sample: object, says: str, tmp_path: Path) -> None:
    with pytest.raises(PairsError, match=says):
        Video().parse(sample, folder=tmp_path)


def test_files_that_are_no_clip_are_refused(animations: dict[str, Path], folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.webp").write_bytes(animations["webp"].read_bytes()[:200])
    (tmp_path / "text.gif").write_text("not a film", "utf-8")
    (tmp_path / "empty").mkdir()
    refused = {
        folder / "frame-1.png": "not an animation",
        tmp_path / "cut.webp": "cannot be opened",
        tmp_path / "empty": "no frames",
        folder: "frames per second",
    }
    for sample, says in refused.items():
        with pytest.raises(PairsError, match=says) as error:
            Video().parse(sample)
        if sample != folder:
            assert str(sample) in str(error.value)
    for sample, says in (
        ({"file": animations["gif"], "start": 1}, "only films"),
        ({"file": animations["gif"], "fps": 5}, "times of its own"),
        ({"file": folder}, "is a folder"),
    ):
        with pytest.raises(PairsError, match=says):
            Video().parse(sample)


def test_damage_behind_the_first_frame_is_found_when_it_is_reached(animations: dict[str, Path], tmp_path: Path) -> None:
    whole = animations["png"].read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PairsError, match=r"cut\.png"):
        seen(tmp_path / "cut.png")


@pytest.mark.parametrize("declared", ["[25]", '{"rate": 25}', '{"fps": -1}', "fps"])
def test_wrong_declarations_are_refused(declared: str, frames: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "video.json").write_text(declared, "utf-8")
    with pytest.raises(PairsError, match=r"fps|JSON|frames a second"):
        Video().parse(frames, folder=tmp_path)


def test_arrays_with_labels(frames: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "clips.npy", np.stack([frames, frames[::-1]]))
    (tmp_path / "labels.csv").write_text("label\nforwards\nbackwards\n", "utf-8")
    (tmp_path / "video.json").write_text('{"fps": 10}', "utf-8")
    pairs = read_labelled(tmp_path / "clips.npy", tmp_path / "labels.csv", modality=Video()).pairs
    assert [pair.sample["fps"] for pair in pairs] == [10.0, 10.0]


def test_the_hash_of_pairs_covers_files(animations: dict[str, Path], folder: Path, tmp_path: Path) -> None:
    samples = [str(animations["gif"]), {"frames": str(folder), "fps": FPS}]
    write_pairs(tmp_path / "pairs.jsonl", [Pair(Video().parse(sample), "a block") for sample in samples])
    read = read_pairs(tmp_path / "pairs.jsonl", modality=Video())
    before = read.sha256
    assert pairs_sha256([Pair(Video().parse(sample), "a block") for sample in samples]) == before
    last = folder / "frame-10.png"
    content = last.read_bytes()
    try:
        Image.new("RGB", (48, 32)).save(last)
        assert read_pairs(tmp_path / "pairs.jsonl", modality=Video()).sha256 != before
    finally:
        last.write_bytes(content)


def test_drawings_move(animations: dict[str, Path]) -> None:
    drawing = Video().draw(animations["gif"])
    assert drawing is not None
    assert drawing.startswith('<img alt="clip of 1 s" src="data:image/webp;base64,')
    assert Video().draw("gone.gif") is None


class TestFilms:
    """MP4 through PyAV."""

    @pytest.fixture(scope="class")
    @classmethod
    def film(cls, frames: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Three seconds: the clip, then black, then grey."""
        av = pytest.importorskip("av", reason="pip install 'semi-plugin-video[film]'")
        path = tmp_path_factory.mktemp("film") / "film.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
            stream.gop_size = 5
            for picture in [*frames, *[np.zeros_like(frames[0])] * 10, *[np.full_like(frames[0], 128)] * 10]:
                for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                    container.mux(packet)
            for packet in stream.encode():
                container.mux(packet)
        return path

    def test_a_film_is_its_frames(self, film: Path, frames: np.ndarray) -> None:
        found, seconds = seen(film, n=6)
        assert seconds == pytest.approx(3.0, abs=0.05)
        assert np.abs(found[2:4, 16:32].astype(int)).mean() < 5
        np.testing.assert_allclose(found[4:, 16:32].mean(), 128, atol=5)
        assert np.abs(found[0] - seen({"frames": frames, "fps": FPS}, n=2)[0][0]).mean() < 6

    def test_a_part_of_a_film(self, film: Path) -> None:
        found, seconds = seen({"file": film, "start": 1.2, "duration": 0.6}, n=3)
        assert np.abs(found[:, 16:32]).mean() < 5
        assert seconds == pytest.approx(0.6, abs=0.11)
        with pytest.raises(PairsError, match="no frames there"):
            seen({"file": film, "start": 60})

    def test_what_is_no_film_is_named(self, film: Path, tmp_path: Path) -> None:
        (tmp_path / "text.mp4").write_text("not a film", "utf-8")
        with pytest.raises(PairsError, match=r"text\.mp4"):
            Video().parse(tmp_path / "text.mp4")

    def test_missing_extra_is_named(self, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "av", None)
        with pytest.raises(InputError) as error:
            Video().parse(film)
        assert "semi-plugin-video[film]" in str(error.value)
