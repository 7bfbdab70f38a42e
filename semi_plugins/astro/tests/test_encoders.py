"""The three encoders; the ConvNeXt on tiny random weights, in both layouts it comes in."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from semi.errors import ArtifactError, InputError, PairsError
from semi.modality import Encoder
from semi_plugin_image.assets import EFFICIENTNET
from transformers import ConvNextConfig, ConvNextForImageClassification, ConvNextModel

from semi_plugin_astro.convnext import RENAMED, load_convnext
from semi_plugin_astro.modality import HUB, Astro
from semi_plugin_astro.morphology import SIDE, WIDTH, Morphology, statistics
from semi_plugin_astro.photographs import as_pixels

needs_weights = pytest.mark.skipif(not EFFICIENTNET.present(), reason="run: semi fetch efficientnet-lite0-weights")


def tiny() -> ConvNextForImageClassification:
    """A random ConvNeXt of four stages, 24 wide at the end."""
    torch.manual_seed(0)
    config = ConvNextConfig(hidden_sizes=[8, 8, 16, 24], depths=[1, 1, 2, 1], num_labels=3)
    model = ConvNextForImageClassification(config).eval()
    for name, parameter in model.named_parameters():  # transformers starts biases at 0 and layer scales at 1e-6
        torch.nn.init.normal_(parameter, 1.0 if "norm.weight" in name else 0.0, 0.3)
    return model


@pytest.fixture(scope="module")
def convnext_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as transformers saves it."""
    folder = tmp_path_factory.mktemp("convnext")
    tiny().convnext.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def timm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as timm saves it to a hub, with 1 x 1 convolutions and a classifier."""
    folder = tmp_path_factory.mktemp("timm")
    tensors = {"head.fc.weight": torch.zeros(3, 24), "head.fc.bias": torch.zeros(3)}
    for name, tensor in tiny().convnext.state_dict().items():
        old = _timm_name(name)
        is_linear = ".mlp.fc" in old and old.endswith("weight")
        tensors[old] = tensor[..., None, None].clone() if is_linear else tensor.clone()
    save_file(tensors, folder / "model.safetensors")
    config = {"architecture": "convnext_tiny", "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    return folder


def _timm_name(name: str) -> str:
    """The name that the table of the encoder turns into this one."""
    for pattern, new in RENAMED:
        back = re.sub(r"\\\\(\d)", r"(\\d+)", re.escape(new))
        if found := re.match(f"{back}(?=\\w|$)", name):
            bare = pattern.strip("^$").replace("\\.", ".").replace("(\\d+)", "{}").replace("(\\d)", "{}")
            return bare.format(*found.groups()) + name[found.end() :]
    raise AssertionError(name)


@pytest.fixture(scope="module", params=["efficientnet-lite0", "morphology", "zoobot"])
def encoder(request: pytest.FixtureRequest, convnext_folder: Path) -> Encoder:
    if request.param == "efficientnet-lite0" and not EFFICIENTNET.present():
        pytest.skip("run: semi fetch efficientnet-lite0-weights")
    name = f"zoobot:{convnext_folder}" if request.param == "zoobot" else request.param
    return Astro().encoder(name)


@pytest.mark.assets
def test_a_photograph_does_not_feel_its_batch_nor_other_threads(encoder: Encoder, photographs: Sequence[Path]) -> None:
    together = encoder.encode(photographs)
    assert together.shape == (3, encoder.width)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    assert np.ptp(together, axis=0).max() > 0.01
    alone = np.concatenate([encoder.encode([file]) for file in reversed(photographs)])[::-1]
    np.testing.assert_array_equal(together, alone)
    with ThreadPoolExecutor(3) as pool:
        for row in pool.map(encoder.encode, [photographs] * 6):
            np.testing.assert_array_equal(row, together)
    assert encoder.encode([]).shape == (0, encoder.width)


@pytest.mark.assets
def test_what_cannot_be_read_is_named(encoder: Encoder, photographs: Sequence[Path]) -> None:
    with pytest.raises(PairsError, match="does not exist"):
        encoder.encode([photographs[0], "gone.png"])


@pytest.mark.assets
@needs_weights
def test_default_is_the_network_of_1280(photographs: Sequence[Path]) -> None:
    encoder = Astro().encoder()
    assert (encoder.id, encoder.width) == ("astro/efficientnet-lite0@1", 1280)
    from semi_plugin_image.modality import ImageModality

    np.testing.assert_allclose(encoder.encode(photographs), ImageModality().encoder().encode(photographs), atol=1e-5)


def test_statistics_tell_what_they_are_named_after(photographs: Sequence[Path], tmp_path: Path) -> None:
    def at(file: Path, index: int) -> float:
        return float(statistics(as_pixels(file, SIDE))[index])

    disc, spiral, line = photographs
    shape = WIDTH - 9
    assert at(line, shape + 4) > 0.8 > 0.2 > at(disc, shape + 4)  # ellipticity
    assert at(spiral, 32 + 4 + 1) > 3 * at(disc, 32 + 4 + 1)  # two arms in the second zone
    assert at(disc, 0) > at(disc, 8)  # rings: bright inside
    Image.new("RGB", (64, 64), (200, 20, 20)).save(tmp_path / "red.png")
    assert at(tmp_path / "red.png", 79) > 1 > 0.1 > at(disc, 79)  # red against blue


def test_statistics_of_nothing_are_finite() -> None:
    for value in (0.0, 1.0):
        assert np.isfinite(statistics(np.full((SIDE, SIDE, 3), value, np.float32))).all()
    assert (Morphology().width, Morphology().id) == (96, "astro/morphology@1")


def test_pooled_features_are_those_of_the_model(convnext_folder: Path, photographs: Sequence[Path]) -> None:
    encoder = load_convnext(str(convnext_folder))
    model = ConvNextModel.from_pretrained(convnext_folder).eval()
    pixels = np.asarray(Image.open(photographs[1]).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC))
    batch = torch.tensor(pixels / 255.0, dtype=torch.float32).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = model(pixel_values=batch).pooler_output.numpy()
    np.testing.assert_allclose(encoder.encode([photographs[1]]), expected, atol=1e-5)


def test_both_layouts_are_one_network(convnext_folder: Path, timm_folder: Path, photographs: Sequence[Path]) -> None:
    config = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (convnext_folder / "preprocessor_config.json").write_text(json.dumps(config), "utf-8")
    try:
        one, other = load_convnext(str(convnext_folder)), load_convnext(str(timm_folder))
    finally:
        (convnext_folder / "preprocessor_config.json").unlink()
    np.testing.assert_allclose(one.encode(photographs), other.encode(photographs), atol=1e-5)
    assert one.id != other.id  # by the weights' file


def test_a_classifier_gives_its_network(tmp_path: Path, convnext_folder: Path, photographs: Sequence[Path]) -> None:
    tiny().save_pretrained(tmp_path)
    one, other = load_convnext(str(tmp_path)), load_convnext(str(convnext_folder))
    np.testing.assert_allclose(one.encode(photographs), other.encode(photographs), atol=1e-5)


def test_folders_without_a_convnext_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no config\.json") as error:
        load_convnext(str(tmp_path))
    (tmp_path / "config.json").write_text('{"architecture": "resnet50"}', "utf-8")
    save_file({"layer1.0.conv1.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(ArtifactError, match="not a ConvNeXt") as error:
        load_convnext(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ArtifactError, match="can be loaded") as error:
        load_convnext(str(tmp_path))
    assert str(tmp_path) in str(error.value)


def test_hub_that_cannot_be_reached_says_what_else_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(source: str, **_: object) -> str:
        raise OSError(f"{source} is out of reach")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(InputError, match=re.escape(HUB)) as error:
        Astro().encoder("zoobot")
    assert "zoobot:FOLDER" in str(error.value)


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError) as error:
        load_convnext("anything")
    assert "semi-plugin-astro[hub]" in str(error.value)


@pytest.mark.parametrize("name", ["vgg", "morphology:x"])
def test_unknown_encoder_names_the_known(name: str) -> None:
    with pytest.raises(InputError, match="no such encoder") as error:
        Astro().encoder(name)
    assert "zoobot:FOLDER" in str(error.value)


def test_the_plugin_is_imported_without_torch() -> None:
    program = "import sys, semi_plugin_astro.plugin as p; p.semi_modality('astro'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
