"""The encoder "patchtst": a PatchTST of the Hugging Face hub, or one in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from semi.artifacts import load_tensors, rebuilding
from semi.errors import ArtifactError, InputError
from transformers import PatchTSTConfig, PatchTSTModel
from transformers.utils.hub import cached_file

from semi_plugin_imu.sources.reading import read_sample
from semi_plugin_imu.units import STANDARD_GRAVITY

RATE = 50.0
CHANNELS = 6
DEFAULT = "ibm-granite/granite-timeseries-patchtst"


class PatchTST:
    """PatchTST (Nie et al., ICLR 2023): each axis is a series of its own, cut into patches, and read by a transformer.

    The embedding is the mean over patches for each of the six axes, then the mean and standard deviation of the axes
    (in g and rad/s), which the network divides out of its input: 6 d_model + 12 numbers.
    """

    def __init__(self, source: str = DEFAULT) -> None:
        """Load a model.

        Args:
            source: id on the hub, "id@revision", or a folder that `save_pretrained` wrote.

        Raises:
            InputError: there is no such model, the hub cannot be reached, or the model is of another kind.
            ArtifactError: its files lack weights.
        """
        name, _, revision = source.partition("@")
        try:
            config = PatchTSTConfig.from_pretrained(name, revision=revision or "main")
            weights = cached_file(name, "model.safetensors", revision=revision or "main")
        except (OSError, ValueError) as error:  # what transformers raises for a missing file, no network, a wrong id
            raise InputError(
                f"the model {name!r} cannot be loaded",
                got=str(error).splitlines()[0],
                expected="a PatchTST on the hub, or a folder that `save_pretrained` wrote",
                do='name a folder: --encoder "patchtst:FOLDER"; or use the encoder statistics',
            ) from error
        if config.model_type != "patchtst" or config.channel_attention or not config.share_embedding:
            raise InputError(
                f"the model {name} cannot read the six axes of an inertial sensor",
                got=f"{config.model_type}, channels that are not treated alike",
                expected="a PatchTST with share_embedding and without channel_attention",
            )
        config.num_input_channels = CHANNELS
        config.do_mask_input = False
        self._model = _filled(config, Path(str(weights)))
        self._steps = int(config.context_length)
        self.width = CHANNELS * int(config.d_model) + 2 * CHANNELS
        self.id = f"imu/patchtst-{_digest(self._model)}@1"

    def encode(self, samples: Sequence[Any]) -> np.ndarray:
        """Embeddings (n, width), float32, of n windows, each brought to 50 Hz, one by one.

        The network reads its context length: of a longer window the end; before a shorter one stand zeros that are
        marked as not observed.

        Raises:
            PairsError: a sample is not one.
            InputError: acceleration or angular velocity is absent.
        """
        result = np.empty((len(samples), self.width), np.float32)
        for row, sample in zip(result, samples, strict=True):
            row[:] = self._embedding(read_sample(sample).at(RATE).both("patchtst"))
        return result

    @torch.inference_mode()
    def _embedding(self, measured: np.ndarray) -> np.ndarray:
        values = measured[-self._steps :].astype(np.float32)
        values[:, :3] /= STANDARD_GRAVITY
        padded = np.pad(values, ((self._steps - len(values), 0), (0, 0)))
        observed = np.arange(self._steps)[:, None] >= self._steps - len(values)
        output = self._model(
            past_values=torch.from_numpy(padded)[None],  # (1, steps, 6)
            past_observed_mask=torch.from_numpy(np.broadcast_to(observed, padded.shape).copy())[None],
        )
        pooled = output.last_hidden_state[0].mean(1).flatten().numpy()  # (6, patches, d) -> (6 d,)
        return np.concatenate((pooled, values.mean(0), values.std(0)))


def _filled(config: PatchTSTConfig, weights: Path) -> PatchTSTModel:
    """The model with the weights of a file; `from_pretrained` would draw a progress bar on stderr."""
    with torch.random.fork_rng(devices=[]):  # the weights that it is born with are drawn
        model = PatchTSTModel(config)
    # A whole forecaster or classifier has its PatchTSTModel under "model.".
    tensors = {name.removeprefix("model."): tensor for name, tensor in load_tensors(weights).items()}
    wanted = model.state_dict()
    if missing := sorted(set(wanted) - set(tensors)):
        raise ArtifactError(
            f"{weights} lacks weights", got=f"no {', '.join(missing[:3])}", expected=f"{len(wanted)} tensors"
        )
    with rebuilding(weights, "PatchTST"):
        model.load_state_dict({name: tensors[name] for name in wanted})
    model.train(False).requires_grad_(False)
    return model


def _digest(model: PatchTSTModel) -> str:
    """Of configuration and weights: another model under the same name is another encoder."""
    digest = hashlib.sha256(str(sorted(model.config.to_diff_dict().items())).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
