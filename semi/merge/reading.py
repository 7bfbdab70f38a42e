"""Deltas of all models, block by block, the next ones read while these are worked on."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from semi.errors import InputError
from semi.merge.inventory import Block, Inventory


class DeltaReader:
    """Reads deltas into memory of its own, which is all that reading takes however many blocks there are.

    Args:
        inventory: of the merge.
        ahead: read the next block in a thread meanwhile, into a second workspace.
        told: hears how many bytes were read since it was called last.
    """

    def __init__(self, inventory: Inventory, *, ahead: bool, told: Callable[[int], None]) -> None:
        self._inventory, self._told = inventory, told
        self._workspaces = [inventory.workspace() for _ in range(1 + ahead)]

    def read(self, blocks: Iterable[Block]) -> Iterator[tuple[Block, Tensor]]:
        """Each block and its deltas (N, rows, columns), which hold until the next one is asked for.

        Raises:
            ArtifactError: as `Inventory.deltas`.
        """
        waiting: deque[tuple[Block, Future[Tensor]]] = deque()
        with ThreadPoolExecutor(1) as thread:
            for number, block in enumerate(blocks):
                workspace = self._workspaces[number % len(self._workspaces)]
                waiting.append((block, thread.submit(self._inventory.deltas, block, workspace)))
                if len(waiting) == len(self._workspaces):
                    yield self._next(waiting)
            while waiting:
                yield self._next(waiting)

    def _next(self, waiting: deque[tuple[Block, Future[Tensor]]]) -> tuple[Block, Tensor]:
        block, deltas = waiting.popleft()
        read = deltas.result()
        self._told(bytes_of(self._inventory, block))
        return block, read


def bytes_of(inventory: Inventory, block: Block) -> int:
    """About what a block takes to read, of the base and of all models."""
    base, names = inventory.base.info(block.key), inventory.entries[block.key].names
    whole = base.nbytes + sum(inventory.models[name].info(key).nbytes for name, key in names.items())
    return whole * (block.stop - block.start) // base.rows


def require_finite(tau: Tensor, model: str, key: str) -> None:
    """Refuse a model's deltas, (rows, columns), that hold NaN or Inf.

    Raises:
        InputError: names model and tensor.
    """
    low, high = (float(end) for end in torch.aminmax(tau))  # both are NaN if there is one
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(
            f"{model}: {key} or the base's tensor of that name holds NaN or Inf",
            got=f"{int((~tau.isfinite()).sum()):,} of {tau.numel():,} differences",
            expected="finite numbers",
            do="fetch or train that model again, or leave it out",
        )
