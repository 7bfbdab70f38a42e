"""FSDP2 for the frozen language model: its layers are spread over the processes, each gathered while it computes."""

from __future__ import annotations

import torch
from torch import distributed, nn

from semi.errors import InputError
from semi.language_model import LanguageModel


def shard(language_model: LanguageModel, device: torch.device) -> None:
    """Keep this process's part of each layer on the device; embeddings and output layer stay whole on every process.

    Nothing is sent: every process takes its part of weights that all of them hold. From then on all processes must call
    the language model alike, see `LanguageModel.lockstep`.

    Raises:
        InputError: weights that are no plain floating-point numbers, such as those in 4 bits, or of a merge.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    model = language_model.model
    decoder = model.get_decoder()
    layers = getattr(decoder, "layers", None)
    if not isinstance(layers, nn.ModuleList):
        raise InputError(f"the language model {language_model.id} has no list of layers to shard", do="drop --fsdp")
    inside = set(layers.parameters())
    if "#" in language_model.id or not all(parameter.is_floating_point() for parameter in inside):
        raise InputError(
            f"the language model {language_model.id} cannot be sharded in its precision",
            got=language_model.precision,
            expected="bf16 or fp32, and no merge: FSDP2 would tear 4-bit weights from their scales",
            do="set `precision: bf16`, or drop --fsdp: in 4 bits 70 billion weights are 35 GB",
        )
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    # Its root, so that layers are gathered ahead. The loss reads embeddings outside of any forward.
    fully_shard(decoder, mesh=mesh, ignored_params={p for p in model.parameters() if p not in inside})
    model.to(device)
    language_model.lockstep = True
