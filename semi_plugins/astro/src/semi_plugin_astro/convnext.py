"""The encoder "zoobot": a ConvNeXt from a folder or a hub (extra `hub`), in the layout of transformers or of timm."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from semi.artifacts import sha256_of
from semi.errors import ArtifactError, InputError, SemiError

from semi_plugin_astro.photographs import as_pixels

WEIGHTS, CONFIG, PREPROCESSING = "model.safetensors", "config.json", "preprocessor_config.json"
SIDE = 224
EXTRA = "pip install 'semi-plugin-astro[hub]'"

RENAMED = (
    (r"^stem\.0\.", "embeddings.patch_embeddings."),
    (r"^stem\.1\.", "embeddings.layernorm."),
    (r"^stages\.(\d+)\.downsample\.(\d)\.", r"encoder.stages.\1.downsampling_layer.\2."),
    (r"^stages\.(\d+)\.blocks\.(\d+)\.conv_dw\.", r"encoder.stages.\1.layers.\2.dwconv."),
    (r"^stages\.(\d+)\.blocks\.(\d+)\.norm\.", r"encoder.stages.\1.layers.\2.layernorm."),
    (r"^stages\.(\d+)\.blocks\.(\d+)\.mlp\.fc(\d)\.", r"encoder.stages.\1.layers.\2.pwconv\3."),
    (r"^stages\.(\d+)\.blocks\.(\d+)\.gamma$", r"encoder.stages.\1.layers.\2.layer_scale_parameter"),
    (r"^head\.norm\.", "layernorm."),
)
"""timm's names of a ConvNeXt's tensors, and those of transformers' ConvNextModel."""


class ConvNext:
    """A ConvNeXt's pooled features, as Zoobot's encoders are (Walmsley et al., JOSS 8, 5312 (2023))."""

    def __init__(self, model: torch.nn.Module, fingerprint: str, mean: Sequence[float], std: Sequence[float]) -> None:
        self.id = f"astro/convnext-{fingerprint}@1"
        self._model = model.train(False)
        self.width = int(model.config.hidden_sizes[-1])  # type: ignore[union-attr, index]
        self._mean, self._std = np.asarray(mean, np.float32), np.asarray(std, np.float32)

    @torch.inference_mode()
    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, width of the last stage), float32, of n files; one by one, so none depends on the batch.

        Raises:
            PairsError: a file cannot be read.
        """
        rows = np.empty((len(samples), self.width), np.float32)
        for row, sample in zip(rows, samples, strict=True):
            pixels = (as_pixels(sample, SIDE) - self._mean) / self._std  # (224, 224, 3)
            batch = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]  # (1, 3, 224, 224)
            row[:] = self._model(pixel_values=batch).pooler_output[0].numpy()
        return rows


def load_convnext(source: str) -> ConvNext:
    """The ConvNeXt of a folder or of a hub id: `config.json` and `model.safetensors`.

    Raises:
        InputError: the extra is not installed, or the hub has no such model or cannot be reached.
        ArtifactError: the folder lacks a file, or its tensors are not those of a ConvNeXt.
    """
    try:
        from safetensors.torch import load_file
        from transformers import ConvNextConfig, ConvNextModel
    except ImportError as error:
        raise InputError("the encoder zoobot needs transformers", got=error, do=EXTRA) from error
    folder = Path(source) if Path(source).is_dir() else _from_hub(source)
    for file in (CONFIG, WEIGHTS):
        if not (folder / file).is_file():
            raise ArtifactError(f"{folder} holds no ConvNeXt", got=f"no {file}", expected=f"{CONFIG} and {WEIGHTS}")
    try:
        config = json.loads((folder / CONFIG).read_text("utf-8"))
        tensors = load_file(folder / WEIGHTS)
        if config.get("model_type") == "convnext":
            settings, tensors = ConvNextConfig.from_dict(config), _without_prefix(tensors)
        else:
            tensors = from_timm(tensors)
            widths, depths = sizes_of(tensors)
            settings = ConvNextConfig(hidden_sizes=widths, depths=depths)
        model = ConvNextModel(settings)
        model.load_state_dict(tensors)
        mean, std = _normalisation(folder, config)
    except SemiError:
        raise
    except Exception as error:  # damaged JSON or tensors, another architecture: each library has its own errors
        raise ArtifactError(
            f"{folder} does not hold a ConvNeXt that can be loaded",
            got=(str(error) or type(error).__name__).splitlines()[0][:200],
            expected="ConvNextModel of transformers, or a timm convnext_* with its config.json",
        ) from error
    return ConvNext(model, sha256_of(folder / WEIGHTS)[:12], mean, std)


def from_timm(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """timm's tensors under the names of ConvNextModel, without the classifier; 1 x 1 convolutions become linears."""
    converted = {}
    for name, tensor in tensors.items():
        if name.startswith(("head.fc.", "head.pre_logits.")):
            continue
        for pattern, new in RENAMED:
            if re.match(pattern, name):
                linear = ".mlp.fc" in name and tensor.ndim == 4
                converted[re.sub(pattern, new, name)] = tensor.flatten(1) if linear else tensor
                break
        else:
            raise ArtifactError("not a ConvNeXt of timm", got=f"tensor {name}", expected="stem, stages and head.norm")
    return converted


def sizes_of(tensors: Mapping[str, torch.Tensor]) -> tuple[list[int], list[int]]:
    """Widths and depths of the four stages, read off the tensors."""
    depths: dict[int, int] = {}
    widths: dict[int, int] = {}
    for name, tensor in tensors.items():
        if found := re.match(r"encoder\.stages\.(\d+)\.layers\.(\d+)\.dwconv\.weight", name):
            stage, layer = int(found[1]), int(found[2])
            depths[stage] = max(depths.get(stage, 0), layer + 1)
            widths[stage] = tensor.shape[0]
    return [widths[stage] for stage in sorted(widths)], [depths[stage] for stage in sorted(depths)]


def _without_prefix(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of ConvNextModel, also from a ConvNextForImageClassification, which has them below "convnext."."""
    bare = {name.removeprefix("convnext."): tensor for name, tensor in tensors.items()}
    return {name: tensor for name, tensor in bare.items() if not name.startswith("classifier.")}


def _normalisation(folder: Path, config: Mapping[str, Any]) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation of each colour: of timm's config, else of the preprocessor's, else none."""
    if "pretrained_cfg" in config:
        found = config["pretrained_cfg"]
        return found.get("mean", (0, 0, 0)), found.get("std", (1, 1, 1))
    if (folder / PREPROCESSING).is_file():
        found = json.loads((folder / PREPROCESSING).read_text("utf-8"))
        return found.get("image_mean", (0, 0, 0)), found.get("image_std", (1, 1, 1))
    return (0, 0, 0), (1, 1, 1)


def _from_hub(source: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise InputError("a hub id needs huggingface_hub", got=source, do=EXTRA) from error
    try:
        return Path(snapshot_download(source, allow_patterns=[CONFIG, WEIGHTS, PREPROCESSING]))
    except Exception as error:  # not found, no network, an invalid name: one error class each
        raise InputError(
            f"the encoder {source} is neither a folder nor a model that the hub gives",
            got=(str(error) or type(error).__name__).splitlines()[0][:200],
            do="give a folder: --encoder zoobot:FOLDER with config.json and model.safetensors",
        ) from error
