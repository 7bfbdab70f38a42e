"""CLIP's vision tower on tiny random weights, in both layouts it comes in."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from semi.errors import ArtifactError, InputError, PairsError
from semi.testing import ModalityConformance
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionModelWithProjection

from semi_plugin_image.clip import MEAN, RENAMED, STD
from semi_plugin_image.modality import HUB, ImageModality


def load_clip(source: Path):  # type: ignore[no-untyped-def]
    return ImageModality().encoder(f"clip:{source}")


@pytest.fixture(scope="module")
def openclip_file(clip: CLIPVisionModelWithProjection, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as OpenCLIP saves it, the text tower beside it."""
    tensors = {"logit_scale": torch.tensor(4.6), "token_embedding.weight": torch.zeros(5, 4)}
    stacked: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in clip.state_dict().items():
        bare = name.removeprefix("vision_model.")
        if bare == "visual_projection.weight":
            tensors["visual.proj"] = tensor.T.contiguous()
        elif found := re.match(r"encoder\.layers\.(\d+)\.self_attn\.([qkv])_proj\.(\w+)", bare):
            key = f"visual.transformer.resblocks.{found[1]}.attn.in_proj_{found[3]}"
            stacked.setdefault(key, {})[found[2]] = tensor
        elif not bare.endswith("position_ids"):
            tensors[f"visual.{_openclip_name(bare)}"] = tensor
    tensors |= {key: torch.cat([parts[part] for part in "qkv"]) for key, parts in stacked.items()}
    path = tmp_path_factory.mktemp("openclip") / "tiny.pt"
    torch.save(tensors, path)
    return path


def _openclip_name(name: str) -> str:
    """The name that the table of the encoder turns into this one."""
    for pattern, new in RENAMED:
        back = re.sub(r"\\\\(\d)", r"(\\d+)", re.escape(new))
        if found := re.match(back, name):
            bare = pattern.strip("^$").replace("\\.", ".").replace("(\\d+)", "{}").replace("(\\d)", "{}")
            return bare.format(*found.groups()) + name[found.end() :]
    raise AssertionError(name)


def test_embeddings_are_those_of_the_model(clip_folder: Path, files: Sequence[Path]) -> None:
    model = CLIPVisionModelWithProjection.from_pretrained(clip_folder).eval()
    image = Image.open(files[2]).convert("RGB").resize((32, 32), Image.Resampling.BICUBIC)
    pixels = (np.asarray(image, np.float32) / 255 - MEAN) / STD
    with torch.inference_mode():
        expected = model(pixel_values=torch.tensor(pixels).permute(2, 0, 1)[None]).image_embeds.numpy()
    np.testing.assert_allclose(load_clip(clip_folder).encode([files[2]]), expected, atol=1e-5)


def test_both_layouts_are_one_network(
    clip_folder: Path, openclip_file: Path, files: Sequence[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMI_CACHE", str(tmp_path))
    one, other = load_clip(clip_folder), load_clip(openclip_file)
    np.testing.assert_allclose(one.encode(files), other.encode(files), atol=1e-5)
    assert one.id != other.id  # by the weights' file


def test_what_is_no_clip_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip_folder: Path) -> None:
    monkeypatch.setenv("SEMI_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ArtifactError, match=r"no config\.json"):
        load_clip(tmp_path)
    torch.save({"layer1.weight": torch.zeros(2, 2)}, tmp_path / "resnet.pt")
    with pytest.raises(ArtifactError, match="CLIP model"):
        load_clip(tmp_path / "resnet.pt")
    (tmp_path / "config.json").write_text((clip_folder / "config.json").read_text())
    save_file({"layer1.weight": torch.zeros(2, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(ArtifactError, match="CLIP model"):
        load_clip(tmp_path)


def test_a_whole_clip_and_older_files_give_the_same(
    clip_folder: Path, files: Sequence[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEMI_CACHE", str(tmp_path / "cache"))
    vision = CLIPVisionModelWithProjection.from_pretrained(clip_folder)
    text = CLIPTextConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=9,
        projection_dim=24, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.config.to_dict(), projection_dim=24)
    whole = CLIPModel(config)
    whole.vision_model.load_state_dict(vision.vision_model.state_dict())
    whole.visual_projection.load_state_dict(vision.visual_projection.state_dict())
    whole.save_pretrained(tmp_path / "whole")
    (tmp_path / "older").mkdir()
    torch.save(vision.state_dict(), tmp_path / "older" / "pytorch_model.bin")
    (tmp_path / "older" / "config.json").write_text((clip_folder / "config.json").read_text("utf-8"), "utf-8")
    expected = load_clip(clip_folder).encode(files)
    for name in ("whole", "older"):
        np.testing.assert_array_equal(load_clip(tmp_path / name).encode(files), expected)


def test_hub_gives_files_in_either_format(clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def hub(source: str, file: str) -> str:
        asked.append(file)
        if file == "model.safetensors":
            raise OSError("not there")
        return str(clip_folder / {"config.json": "config.json", "pytorch_model.bin": "model.safetensors"}[file])

    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub)
    assert ImageModality().encoder("clip").width == 24
    assert asked == ["config.json", "model.safetensors", "pytorch_model.bin"]


def test_hub_that_cannot_be_reached_says_what_else_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(source: str, file: str) -> str:
        raise OSError(f"{source} is out of reach")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(InputError, match=re.escape(HUB)) as error:
        ImageModality().encoder("clip")
    assert "clip:PATH" in str(error.value)


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError) as error:
        ImageModality().encoder("clip:anything")
    assert "semi-plugin-image[hub]" in str(error.value)


def test_unreadable_picture_is_named(clip_folder: Path, files: Sequence[Path]) -> None:
    with pytest.raises(PairsError, match="does not exist"):
        load_clip(clip_folder).encode([files[0], "gone.png"])


class TestClip(ModalityConformance):
    modality = ImageModality()

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _a_model_in_a_folder(cls, clip_folder: Path, files: Sequence[Path]) -> None:
        cls.encoder, cls.samples = f"clip:{clip_folder}", files
