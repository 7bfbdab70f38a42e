"""Weights in the layout of the SEMI authors' checkpoints, into a projector and an attention hypernetwork."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semi.artifacts import (
    load_module,
    open_output,
    read_json,
    read_manifest,
    rebuilding,
    save_tensors,
    sha256_of,
    write_json,
)
from semi.assets.converted import read_tensors
from semi.errors import ArtifactError, InputError
from semi.hypernetwork.attention import AttentionHyperNetwork, sinusoidal_positions
from semi.hypernetwork.base import HyperNetwork
from semi.projector import Projector

POSITIONS = "hypernet.pos_encs.pe"
"""The position table: optional, because it is a formula; where it is stored it must be that formula."""
PROJECTOR = {"layers.0": "projector.net.0", "layers.1": "projector.net.3"}
HYPERNETWORK = {
    "query": "hypernet.hypnet.q",
    "key": "hypernet.hypnet.k",
    "value": "hypernet.hypnet.v",
    "generators.0": "hypernet.generators.0",
    "generators.1": "hypernet.generators.1",
}
"""Our linear layers to theirs; each has .weight and .bias."""
PREFIXES = "hypernet.prefix_tokens"
KIND = "converted"
FILES = ("sizes.json", "projector.safetensors", "hypernetwork.safetensors")


def load_reference_state(
    state: Mapping[str, Tensor], *, rank: int, alpha: float, n_tokens: int, n_heads: int = 1
) -> tuple[Projector, HyperNetwork]:
    """Projector and hypernetwork from weights named as in the authors' checkpoints.

    Args:
        state: every weight by name, the position table optional; nothing else.
        rank: of the generated adapters.
        alpha: their scale is alpha / rank.
        n_tokens: pairs that the padded context holds (it is 2 n_tokens + 3 long).
        n_heads: attention heads, which no shape betrays.

    Raises:
        InputError: rank, alpha, n_tokens or n_heads out of range.
        ArtifactError: a tensor is missing, unknown, not finite or of a shape that does not fit the others.
    """
    if rank < 1 or n_tokens < 1 or n_heads < 1 or not 0 < alpha < float("inf"):
        raise InputError(
            "settings of the checkpoint",
            got=f"rank {rank}, alpha {alpha}, n_tokens {n_tokens}, n_heads {n_heads}",
            expected="positive numbers",
        )
    _check_tensors(state)
    d_in, d_hidden, d_lm, d_hyper = _check_shapes(state, rank)
    if POSITIONS in state:
        _check_positions(state[POSITIONS], n_tokens, d_hyper)
    projector = Projector(state["projector.net.0.weight"].shape[1], d_hidden, d_lm)
    hypernetwork = AttentionHyperNetwork(
        (d_in, d_hidden),
        (d_hidden, d_lm),
        d_hyper=d_hyper,
        rank=rank,
        alpha=alpha,
        n_pairs=n_tokens,
        n_heads=n_heads,
    )
    projector.load_state_dict(_renamed(state, PROJECTOR))
    hypernetwork.load_state_dict(_renamed(state, HYPERNETWORK) | {"prefixes": state[PREFIXES]})
    return projector, hypernetwork


def convert_checkpoint(
    path: str | Path, *, rank: int, alpha: float, n_tokens: int, n_heads: int = 1
) -> tuple[Projector, HyperNetwork]:
    """`load_reference_state` of a .pt file. Only tensors are read from it; nothing in it is executed.

    Raises:
        ArtifactError: no such file, a damaged one, or one that holds anything but named tensors.
    """
    state = read_tensors(path)
    try:
        return load_reference_state(state, rank=rank, alpha=alpha, n_tokens=n_tokens, n_heads=n_heads)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error.what}", got=error.got, expected=error.expected, do=error.do) from error


def save_converted(checkpoint: str | Path, out: str | Path, *, force: bool = False, **settings: Any) -> None:
    """Convert a .pt file into a folder of safetensors and JSON, float32, that `load_converted` reads.

    Args:
        checkpoint: the .pt file.
        out: the folder to write.
        force: write it again where it is complete.
        settings: of `convert_checkpoint`.

    Raises:
        ArtifactError, InputError: as `convert_checkpoint`; nothing is written then.
        OutputError: the folder is taken or cannot be written to.
    """
    projector, hypernetwork = convert_checkpoint(checkpoint, **settings)
    made_from = {"checkpoint": Path(checkpoint).name, "sha256": sha256_of(checkpoint), **settings}
    with open_output(out, kind=KIND, config=made_from, force=force) as output:
        sizes = {"projector": projector.sizes, "hypernetwork": hypernetwork.settings}
        write_json(output.path / FILES[0], sizes)
        save_tensors(output.path / FILES[1], projector.state_dict())
        save_tensors(output.path / FILES[2], hypernetwork.state_dict())
        output.finish(FILES, made_from)


def load_converted(folder: str | Path) -> tuple[Projector, HyperNetwork]:
    """Projector and hypernetwork from a folder that `save_converted` wrote.

    Raises:
        ArtifactError: the folder is missing, incomplete or damaged.
    """
    folder = Path(folder)
    read_manifest(folder, KIND)
    sizes = read_json(folder / FILES[0])
    with rebuilding(folder / FILES[0], "projector and hypernetwork"):
        projector, hypernetwork = Projector(**sizes["projector"]), AttentionHyperNetwork(**sizes["hypernetwork"])
    load_module(projector, folder / FILES[1])
    load_module(hypernetwork, folder / FILES[2])
    return projector, hypernetwork


def _check_tensors(state: Mapping[str, Tensor]) -> None:
    linears = [*PROJECTOR.values(), *HYPERNETWORK.values()]
    ranks = {f"{name}.weight": 2 for name in linears} | {f"{name}.bias": 1 for name in linears} | {PREFIXES: 2}
    unknown = sorted(map(str, set(state) - set(ranks) - {POSITIONS}))
    missing = sorted(set(ranks) - set(state))
    if unknown or missing:
        raise ArtifactError(
            "the tensors are not those of a SEMI checkpoint",
            got=f"unknown {unknown[:5]}" if unknown else None,
            expected=f"also {missing[:5]}" if missing else "none but the projector's and the hypernetwork's",
        )
    for name, tensor in state.items():
        if not tensor.is_floating_point() or not tensor.isfinite().all():
            raise ArtifactError(f"tensor {name} of the checkpoint", got=f"{tensor.dtype}", expected="finite floats")
        if name in ranks and tensor.ndim != ranks[name]:
            raise ArtifactError(
                f"tensor {name} of the checkpoint", got=tuple(tensor.shape), expected=f"{ranks[name]} dimension(s)"
            )


def _check_shapes(state: Mapping[str, Tensor], rank: int) -> tuple[int, int, int, int]:
    """d_in that the first generator writes for, d_hidden, d_lm, d_hyper; raises ArtifactError where two disagree."""
    d_hidden, d_enc = state["projector.net.0.weight"].shape
    d_lm = state["projector.net.3.weight"].shape[0]
    d_hyper = state[PREFIXES].shape[1]
    first = state["hypernet.generators.0.weight"].shape[0]
    # A projector that was sliced to a narrow encoder no longer shows how wide the generated A is.
    d_in, rest = divmod(first - (rank + 1) * d_hidden, rank)
    if rest or d_in < d_enc:
        raise ArtifactError(
            "tensor hypernet.generators.0.weight of the checkpoint",
            got=f"{first} rows",
            expected=f"d_in * {rank} + ({rank} + 1) * {d_hidden} with d_in >= {d_enc}",
            do="give the rank that the checkpoint was trained with",
        )
    linears = {
        "projector.net.0": (d_hidden, d_enc),
        "projector.net.3": (d_lm, d_hidden),
        "hypernet.generators.0": (first, d_hyper),
        "hypernet.generators.1": (d_hidden * rank + (rank + 1) * d_lm, d_hyper),
        **{HYPERNETWORK[name]: (d_hyper, d_hyper) for name in ("query", "key", "value")},
    }
    expected: dict[str, tuple[int, ...]] = {PREFIXES: (len(PROJECTOR), d_hyper)}
    for name, shape in linears.items():
        expected[f"{name}.weight"], expected[f"{name}.bias"] = shape, shape[:1]
    for name, wanted in expected.items():
        if tuple(state[name].shape) != wanted:
            raise ArtifactError(
                f"tensor {name} of the checkpoint",
                got=tuple(state[name].shape),
                expected=wanted,
                do="check the rank, and that all tensors come from one model",
            )
    return d_in, d_hidden, d_lm, d_hyper


def _check_positions(table: Tensor, n_tokens: int, d_hyper: int) -> None:
    context = 2 * n_tokens + len(PROJECTOR) + 1
    if tuple(table.shape) != (1, context, d_hyper):
        raise ArtifactError(
            f"tensor {POSITIONS} of the checkpoint",
            got=tuple(table.shape),
            expected=f"(1, {context}, {d_hyper}) for n_tokens = {n_tokens}",
            do="give the n_tokens that the checkpoint was trained with",
        )
    ours = sinusoidal_positions(context, d_hyper).to(table)
    # Rounded to the table's own dtype; float32 tables differ by the last digit of exp() and sin().
    if not torch.allclose(table[0], ours, rtol=0, atol=max(1e-5, torch.finfo(table.dtype).eps)):
        raise ArtifactError(
            f"tensor {POSITIONS} of the checkpoint",
            got="other numbers",
            expected="sinusoidal positions times 1/sqrt(d_hyper)",
        )


def _renamed(state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    return {f"{our}.{part}": state[f"{their}.{part}"] for our, their in names.items() for part in ("weight", "bias")}
