"""Who computes what of a training: here one process, everything. `semi.training.distributed` has a team of them.

Every process draws all of a micro-batch from (seed, step, micro-batch) and computes its share of it: a sum, divided by
what all shares hold together. The sum over the processes is what one process would have computed, so a step does not
depend on their number but for the order of the additions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from semi.artifacts import Checkpoint

if TYPE_CHECKING:
    from semi.language_model import LanguageModel

BatchLoss = Callable[[torch.Generator], Tensor]


class Share(NamedTuple):
    """What is one process's of some items."""

    start: int
    stop: int
    weight: int
    """1; 0 where there are fewer items than processes: this one is another's, computed to keep step with the others."""

    @property
    def slice(self) -> slice:
        """Of the items."""
        return slice(self.start, self.stop)


def share(costs: Sequence[float], number: int, count: int) -> Share:
    """The part of process `number` of `count`, of items in a row: about as much cost for each, every item in one part.

    Args:
        costs: of the items, at least one of them, each above 0.
    """
    ends = list(accumulate(costs))
    # An item belongs where its middle lies on a scale from 0 to `count`.
    owners = [int(count * (end - cost / 2) / ends[-1]) for cost, end in zip(costs, ends, strict=True)]
    mine = [i for i, owner in enumerate(owners) if owner == number]
    return Share(mine[0], mine[-1] + 1, 1) if mine else Share(0, 1, 0)


class Processes:
    """One process, which has no other to talk to.

    Attributes:
        number: of this process, from 0.
        count: of all processes.
    """

    number, count = 0, 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files."""
        return self.number == 0

    def share(self, costs: Sequence[float]) -> Share:
        """This process's part of some items, see `share`."""
        return share(costs, self.number, self.count)

    def total(self, values: Tensor) -> Tensor:
        """The sum of each value over the processes, without gradient."""
        return values

    def parallel(self, module: nn.Module, batch_loss: BatchLoss) -> BatchLoss:
        """`batch_loss`, whose backward adds up the gradients of all processes in the module's parameters.

        What is propagated back must be multiplied by `count`.
        """
        return batch_loss

    def holding(self, loss: BatchLoss, *, last: bool) -> AbstractContextManager[None]:
        """Around the forward and backward of each micro-batch of a step: gradients are exchanged in the last one."""
        return nullcontext()

    def language_model(self, load: Callable[[torch.device | None], LanguageModel]) -> LanguageModel:
        """The language model that `load` gives for a device, None being where it would go by itself."""
        return load(None)

    def in_turn(self) -> AbstractContextManager[None]:
        """Around what leaves something in the user's cache: one process of a machine makes it, the others find it."""
        return nullcontext()

    def wait(self) -> None:
        """Until all processes have come here."""

    def tell(self, path: Path | None) -> Path:
        """The first process's path, on all processes.

        Args:
            path: None on all but the first.
        """
        if path is None:
            raise TypeError("the first process has a path to tell")
        return path

    def require_same(self, checkpoint: Checkpoint | None, step: int) -> None:
        """Refuse to go on where processes have found different checkpoints, or some have found none.

        Raises:
            OutputError: it names the folder and the steps.
        """


ALONE = Processes()
