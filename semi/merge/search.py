"""lambda of each model's mask, found without labels: what leaves its predictions on some texts nearest to its own.

The shared vector does not depend on lambda: it is made once, and masks for every lambda that is tried. The base's
language model and the shared vector are held in memory meanwhile, in float32, beside what `io.max_memory` allows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from semi.errors import InputError
from semi.merge.coder import Coder
from semi.merge.codes import Code, masks_on
from semi.merge.config import MergeConfig
from semi.merge.divergence import Prompted, compare, original
from semi.merge.header import FLOATS
from semi.merge.inventory import Block, Inventory
from semi.merge.reading import DeltaReader, bytes_of
from semi.merge.restore import add
from semi.merge.scales import row_scales
from semi.merge.statistics import Statistics

MOST = 64
"""Prompts."""


def read_prompts(file: str | Path) -> list[str]:
    """The lines of a text file that are not empty.

    Raises:
        InputError: the file cannot be read, or holds no prompt or too many.
    """
    try:
        lines = [line.strip() for line in Path(file).expanduser().read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        got = getattr(error, "strerror", None) or str(error)
        raise InputError(f"the prompts {file} cannot be read", got=got, expected="a text file in UTF-8") from error
    if not 0 < len(prompts := [line for line in lines if line]) <= MOST:
        raise InputError(f"the prompts {file} are too few or too many", got=len(prompts), expected=f"1 to {MOST} lines")
    return prompts


def readings(config: MergeConfig) -> int:
    """How often `search_lambdas` reads all deltas."""
    return 1 + len(config.unsettled) * (1 + len(config.grid)) if config.unsettled else 0


@torch.no_grad()
def search_lambdas(
    inventory: Inventory,
    config: MergeConfig,
    statistics: Statistics,
    folder: Path,
    prompts: Sequence[str],
    told: Callable[[int], None],
) -> dict[str, Any]:
    """Try every lambda of the grid on every model that has none; of two that are equally good the larger one wins.

    Logits of the original models on all prompts are held in memory, too.

    Args:
        inventory: of the merge.
        config: of the merge.
        statistics: what the method needs to know before.
        folder: the base's, with its tokenizer.
        prompts: texts; encoders have no part in this.
        told: hears how many bytes were read since it was called last.

    Returns:
        "prompts" (how many), "tokens", "found" {model: lambda}, "curves" {model: [{"lambda", "nats", "agreement"}]}:
        the mean KL divergence of the model's predictions from those with its mask, to six digits, and how often both
        expect the same token.

    Raises:
        ArtifactError: the base is no causal language model, or has no tokenizer.
        InputError: a delta is not finite; names model and tensor.
    """
    asked = Prompted(folder, prompts)
    vectors = _vectors(inventory, config, statistics, told)
    tokens = 0
    curves: dict[str, list[dict[str, float]]] = {}

    def restored(name: str, key: str, factor: float) -> Iterator[Tensor]:
        """A merged tensor of a model as it comes back: float32 (rows, columns), in pieces."""
        index, dtype = list(inventory.models).index(name), FLOATS[inventory.base.info(key).dtype]
        rms = statistics.rms_of(key)
        own = None if rms is None else rms[index : index + 1]
        for block, shared in vectors[key]:
            tau, base = inventory.delta(name, block)
            code = Code(shared, masks_on(tau[None], shared, torch.tensor([factor]), own))
            delta = code.delta(0)
            if config.scale == "row":
                delta = code.delta(0, row_scales(tau, delta))
            told(bytes_of(inventory, block))
            yield add(base, delta).to(dtype).float()

    for name in config.unsettled:
        for entry in inventory.entries.values():
            asked.put(entry.key, original(inventory, name, entry.key))
        logits = list(asked.logits())
        told(inventory.sizes(config).read)
        curves[name] = []
        for factor in config.grid:
            for key in vectors:
                asked.put(key, restored(name, key, factor))
            found = asdict(compare(logits, asked.logits()))
            tokens = found.pop("tokens")
            # To six digits: what two threads or machines add up differently decides nothing.
            curves[name].append({"lambda": factor} | {figure: float(f"{n:.6g}") for figure, n in found.items()})
    best = {name: min(curve, key=lambda at: (at["nats"], -at["lambda"]))["lambda"] for name, curve in curves.items()}
    return {"prompts": len(prompts), "tokens": tokens, "found": best, "curves": curves}


def _vectors(
    inventory: Inventory, config: MergeConfig, statistics: Statistics, told: Callable[[int], None]
) -> Mapping[str, list[tuple[Block, Tensor]]]:
    """The shared vector of every merged tensor, in its blocks."""
    # Any lambda will do: the vector has no part of it.
    coder = Coder(config.settled(dict.fromkeys(config.unsettled, 1.0)), statistics)
    vectors: dict[str, list[tuple[Block, Tensor]]] = {entry.key: [] for entry in inventory.of("merged", "rows")}
    for block, tau in DeltaReader(inventory, ahead=False, told=told).read(inventory.blocks()):
        vectors[block.key].append((block, coder.code(block, tau, coder.kept(block, tau)).shared))
    return vectors
