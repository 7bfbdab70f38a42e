"""CLIP's vision tower from a folder, a file or a hub (extra `hub`), in the layout of transformers or of OpenCLIP."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from semi.artifacts import sha256_of
from semi.assets import as_safetensors
from semi.errors import ArtifactError
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from semi_plugin_image.pictures import AsSquare
from semi_plugin_image.pretrained import brief, from_hub, load_pretrained

MEAN = np.array((0.48145466, 0.4578275, 0.40821073), np.float32)
STD = np.array((0.26862954, 0.26130258, 0.27577711), np.float32)
HEAD_WIDTH = 64  # of every CLIP vision transformer

RENAMED = (
    (r"^class_embedding$", "embeddings.class_embedding"),
    (r"^positional_embedding$", "embeddings.position_embedding.weight"),
    (r"^conv1\.", "embeddings.patch_embedding."),
    (r"^ln_pre\.", "pre_layrnorm."),
    (r"^ln_post\.", "post_layernorm."),
    (r"^transformer\.resblocks\.(\d+)\.ln_(\d)\.", r"encoder.layers.\1.layer_norm\2."),
    (r"^transformer\.resblocks\.(\d+)\.attn\.out_proj\.", r"encoder.layers.\1.self_attn.out_proj."),
    (r"^transformer\.resblocks\.(\d+)\.mlp\.c_fc\.", r"encoder.layers.\1.mlp.fc1."),
    (r"^transformer\.resblocks\.(\d+)\.mlp\.c_proj\.", r"encoder.layers.\1.mlp.fc2."),
)
"""OpenCLIP's names of the vision tower's tensors, and those of transformers."""


class ClipVision:
    """CLIP's image embedding, projected and not normalised (Radford et al., ICML 2021).

    Other plugins get it from `semi_plugin_image.shared.clip`.
    """

    def __init__(self, model: torch.nn.Module, id: str, as_square: AsSquare) -> None:
        config: Any = model.config
        self.id = id
        self.width = int(config.projection_dim)
        self._side = int(config.image_size)
        self._as_square = as_square
        self._model = model.train(False)

    @torch.inference_mode()
    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, projection width), float32, of n samples; one by one, so none depends on the batch.

        Raises:
            PairsError: a sample cannot be read.
        """
        rows = np.empty((len(samples), self.width), np.float32)
        for row, sample in zip(rows, samples, strict=True):
            batch = torch.from_numpy(preprocess([self._as_square(sample, self._side)]))  # (1, 3, side, side)
            row[:] = self._model(pixel_values=batch).image_embeds[0].numpy()
        return rows


def preprocess(images: Sequence[Any]) -> np.ndarray:
    """Square pictures in RGB as CLIP wants them: (n, 3, side, side), float32."""
    pixels = (np.stack([np.asarray(image, np.float32) for image in images]) / 255 - MEAN) / STD  # (n, side, side, 3)
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def load_model(source: str, file: str | None, do: str) -> tuple[torch.nn.Module, str]:
    """CLIP's vision tower and the beginning of its weights' hash; arguments and errors as for `shared.clip`."""
    path = Path(source) if file is None else from_hub(source, file, do)
    if path.is_file():
        return from_openclip(as_safetensors(path)), sha256_of(path)[:12]
    return load_pretrained(source, "a CLIP model", do, _untrained)


def _untrained(config: Path) -> CLIPVisionModelWithProjection:
    """Of a CLIPModel's configuration or of that of its vision tower."""
    return CLIPVisionModelWithProjection(CLIPVisionConfig.from_pretrained(config))


def from_openclip(weights: Path) -> torch.nn.Module:
    """A CLIPVisionModelWithProjection with the tensors of an OpenCLIP checkpoint; its sizes are read off them.

    GELU as in OpenCLIP's ViT configurations.

    Raises:
        ArtifactError: not a vision transformer of OpenCLIP.
    """
    bare = {name.removeprefix("module."): tensor.float() for name, tensor in load_file(weights).items()}
    visual = {name.removeprefix("visual."): tensor for name, tensor in bare.items() if name.startswith("visual.")}
    if not {"conv1.weight", "positional_embedding", "proj"} <= set(visual):
        raise _not_clip(weights, f"tensors {', '.join(sorted(bare)[:3])}, ...")
    width, _, patch, _ = visual["conv1.weight"].shape
    layers = {int(found[1]) for name in visual if (found := re.match(r"transformer\.resblocks\.(\d+)\.", name))}
    config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=visual["transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        projection_dim=visual["proj"].shape[1],
        num_hidden_layers=len(layers),
        num_attention_heads=max(1, width // HEAD_WIDTH),
        image_size=patch * round((visual["positional_embedding"].shape[0] - 1) ** 0.5),
        patch_size=patch,
        hidden_act="gelu",
    )
    model = CLIPVisionModelWithProjection(config)
    tower = {f"{_tower(model)}{name}": tensor for name, tensor in _renamed(visual).items()}
    tower["visual_projection.weight"] = visual["proj"].T
    try:
        missing, unexpected = model.load_state_dict(tower, strict=False)
    except RuntimeError as error:
        raise _not_clip(weights, brief(error)) from error
    if unexpected or any(not name.endswith("position_ids") for name in missing):
        raise _not_clip(weights, f"no tensor {missing[0]}" if missing else f"tensor {unexpected[0]}")
    return model


def _tower(model: torch.nn.Module) -> str:
    """What stands before the tower's tensors: "vision_model." or more, by the version of transformers."""
    name = next(name for name in model.state_dict() if name.endswith("embeddings.class_embedding"))
    return name.removesuffix("embeddings.class_embedding")


def _renamed(visual: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tower's tensors under the names of transformers; queries, keys and values, stacked in OpenCLIP, apart."""
    renamed = {}
    for name, tensor in visual.items():
        if found := re.match(r"^transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)$", name):
            for part, chunk in zip("qkv", tensor.chunk(3), strict=True):
                renamed[f"encoder.layers.{found[1]}.self_attn.{part}_proj.{found[2]}"] = chunk
        else:
            for pattern, new in RENAMED:
                if re.match(pattern, name):
                    renamed[re.sub(pattern, new, name)] = tensor
                    break
    return renamed


def _not_clip(path: Path, got: str) -> ArtifactError:
    expected = "a .pt file of OpenCLIP with a vision transformer"
    return ArtifactError(f"{path} does not hold a CLIP model that can be loaded", got=got, expected=expected)
