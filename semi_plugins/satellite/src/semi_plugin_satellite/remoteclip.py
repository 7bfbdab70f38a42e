"""The encoder "remoteclip": CLIP's vision tower from a folder, a file or a hub (extra `hub`)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from semi.artifacts import sha256_of
from semi.assets import as_safetensors
from semi.errors import ArtifactError, InputError, SemiError

from semi_plugin_satellite.pictures import as_pixels

HUB, FILE = "chendelong/RemoteCLIP", "RemoteCLIP-ViT-B-32.pt"
CONFIG, WEIGHTS = "config.json", "model.safetensors"
EXTRA = "pip install 'semi-plugin-satellite[hub]'"
MEAN = np.array((0.48145466, 0.4578275, 0.40821073), np.float32)  # of CLIP, for RemoteCLIP too
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
    """CLIP's image embedding, projected and not normalised (RemoteCLIP: Liu et al., IEEE TGRS 62, 5622216 (2024))."""

    def __init__(self, model: torch.nn.Module, fingerprint: str) -> None:
        config: Any = model.config
        self.id = f"satellite/clip-{fingerprint}@1"
        self.width = int(config.projection_dim)
        self._side = int(config.image_size)
        self._model = model.train(False)

    @torch.inference_mode()
    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, projection width), float32, of n files; one by one, so none depends on the batch.

        Raises:
            PairsError: a file cannot be read.
        """
        rows = np.empty((len(samples), self.width), np.float32)
        for row, sample in zip(rows, samples, strict=True):
            pixels = (as_pixels(sample, self._side) - MEAN) / STD  # (side, side, 3)
            batch = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]  # (1, 3, side, side)
            row[:] = self._model(pixel_values=batch).image_embeds[0].numpy()
        return rows


def load_clip(source: str | None) -> ClipVision:
    """CLIP's vision tower.

    Args:
        source: a folder or hub id in the layout of transformers (a CLIPModel or its vision tower: `config.json`,
            `model.safetensors`), or a .pt file of OpenCLIP, as RemoteCLIP is published; None: that of RemoteCLIP
            ViT-B-32 on the hub.

    Raises:
        InputError: the extra is not installed, or the hub has no such model or cannot be reached.
        ArtifactError: the folder lacks a file, or its tensors are not those of CLIP.
    """
    try:
        from transformers import CLIPVisionModelWithProjection
    except ImportError as error:
        raise InputError("the encoder remoteclip needs transformers", got=error, do=EXTRA) from error
    path = Path(source) if source and Path(source).exists() else _from_hub(source)
    if path.is_dir():
        for file in (CONFIG, WEIGHTS):
            if not (path / file).is_file():
                raise ArtifactError(f"{path} holds no CLIP model", got=f"no {file}", expected=f"{CONFIG} and {WEIGHTS}")
    try:
        if path.is_file():
            return ClipVision(from_openclip(as_safetensors(path)), sha256_of(path)[:12])
        loaded: Any = CLIPVisionModelWithProjection.from_pretrained(path, output_loading_info=True)
    except SemiError:
        raise
    except Exception as error:  # damaged JSON or tensors, another architecture: each library has its own errors
        raise _not_clip(path, (str(error) or type(error).__name__).splitlines()[0][:200]) from error
    model, found = loaded
    if found["missing_keys"] or found["mismatched_keys"]:
        raise _not_clip(path, f"no tensor {sorted(map(str, found['missing_keys']))[:1]}")
    return ClipVision(model, sha256_of(path / WEIGHTS)[:12])


def from_openclip(weights: Path) -> torch.nn.Module:
    """A CLIPVisionModelWithProjection with the tensors of an OpenCLIP checkpoint; its sizes are read off them.

    GELU as in OpenCLIP's ViT configurations, which RemoteCLIP's authors load it with.

    Raises:
        ArtifactError: not a vision transformer of OpenCLIP.
    """
    from safetensors.torch import load_file
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

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
        raise _not_clip(weights, str(error).splitlines()[-1].strip()) from error
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
    expected = "a CLIP model of transformers, or a .pt file of OpenCLIP with a vision transformer"
    return ArtifactError(f"{path} does not hold a vision tower of CLIP that can be loaded", got=got, expected=expected)


def _from_hub(source: str | None) -> Path:
    """RemoteCLIP's file, or the folder of another hub id."""
    try:
        from huggingface_hub import hf_hub_download, snapshot_download
    except ImportError as error:
        raise InputError("a hub id needs huggingface_hub", got=source or HUB, do=EXTRA) from error
    try:
        if source is None:
            return Path(hf_hub_download(HUB, FILE))
        return Path(snapshot_download(source, allow_patterns=[CONFIG, WEIGHTS]))
    except Exception as error:  # not found, no network, an invalid name: one error class each
        raise InputError(
            f"the encoder {source or HUB} is neither a folder, a file nor a model that the hub gives",
            got=(str(error) or type(error).__name__).splitlines()[0][:200],
            do="give a folder or a .pt file: --encoder remoteclip:PATH",
        ) from error
